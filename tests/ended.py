"""Waits for the end of a process, also of one that is no child of ours."""

import os
import select


def ended(pid: int, deadline_s: float) -> bool:
    """Whether it ends before the deadline, or has ended; whether somebody waited for it makes no difference."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], deadline_s)[0])
    finally:
        os.close(watched)
