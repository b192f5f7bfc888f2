// The panel's own script: what htmx does not do by itself. No inline script, no eval: the policy forbids both.
"use strict";
