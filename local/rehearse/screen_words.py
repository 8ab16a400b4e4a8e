"""Words and colours that the screens of a rehearsal share."""

SHOWN_DIGITS = 8
COLOURS = ("cyan", "yellow", "green", "magenta")
DOING = {
    "registering": "registers with",
    "registered": "registered with",
    "connecting": "connects with",
    "connected": "connected with",
    "disconnected": "lost its session with",
    "refused": "REFUSED with",
    "unreachable": "gets no answer for",
    "swapped": "connected with",
    "rolled_back": "went back from",
    "method": "is asked to move on from",
}
THE = {"dps": "DPS", "hub": "the hub"}
