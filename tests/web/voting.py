"""A process that votes as fast as it can and prints what was acknowledged."""

import sys

from samplewise.web.listening.votes import Vote, VoteStore

store = VoteStore("study", sys.argv[1])
listener, _ = store.add_listener("")
for trial in range(10**6):
    store.add_votes([Vote(listener.number, trial, "a", {"kind": "test"}, {}, 0.0)])
    print(listener.number, trial, flush=True)
