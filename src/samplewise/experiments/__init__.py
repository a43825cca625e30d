"""The papers' tables and figures as commands: rows as data, the paper's numbers beside ours."""
