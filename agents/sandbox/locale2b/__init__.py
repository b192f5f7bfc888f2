"""The remote provider: microVMs behind a locale2b service, by HTTP. docs/sandboxes.md says how it is run and what it promises."""
