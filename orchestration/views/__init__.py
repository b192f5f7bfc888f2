"""The panel: each view is a selector, a form, a service, and a page or its fragment."""
