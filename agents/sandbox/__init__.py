"""Local sandboxes: bubblewrap, and Landlock + seccomp where namespaces are refused. Never unsandboxed."""
