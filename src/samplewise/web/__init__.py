"""Web pages: the listening test and the studio. Needs the [web] extra."""
