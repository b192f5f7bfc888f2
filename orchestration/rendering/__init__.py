"""PURE: text that a model, a command, a repository or a person wrote, made fit to be shown. No database, no request.

`text` makes invisible characters visible; `ansi`, `markdown`, `code` and `diff` make HTML of what is cleaned by nh3 as its last step;
`graph` lays out a plan. Everything here takes any string, hostile ones included, and never raises.
"""
