"""Slow twin of the order state machine, written as sentences about orders instead of a table of effects."""

OPEN = ("journaled", "pending_new", "unknown", "new", "partially_filled", "pending_cancel", "pending_replace")
DEAD = ("filled", "canceled", "expired", "rejected", "never_landed")


class RefOrder:
    """One order with its base state, its end and its overlays."""

    def __init__(self, qty: int) -> None:
        self.qty, self.cum, self.asked = qty, 0, qty
        self.base, self.done, self.over = "journaled", None, set()
        self.sends = 0

    @property
    def status(self) -> str:
        """Derived status."""
        if self.qty > 0 and self.cum >= self.qty:
            return "filled"
        if self.done:
            return self.done
        if self.base == "journaled" and not self.over:
            return "journaled"
        for overlay, name in (("cancel", "pending_cancel"), ("replace", "pending_replace"), ("unknown", "unknown")):
            if overlay in self.over:
                return name
        if self.cum:
            return "partially_filled"
        return "new" if self.base == "working" else "pending_new"

    def handle(self, event: str) -> bool:
        """Apply an event; False if it is illegal, then nothing has changed."""
        status = self.status
        if status == "denied" or status == "free":
            return False
        if event == "fill":
            if status == "journaled":
                return False
            if status in ("rejected", "never_landed"):
                self.done, self.base = None, "working"
            elif status in OPEN:
                self.base = "working"
                self.over.discard("unknown")
            return True
        if status == "journaled":
            if event == "send":
                self.base, self.sends = "sent", self.sends + 1
            elif event == "deny":
                self.done = "denied"
            elif event == "ambiguous":
                self.over.add("unknown")
            else:
                return False
            return True
        if event in ("send", "deny"):
            return False
        if status in DEAD:
            return self._after_the_end(status, event)
        return self._while_open(status, event)

    def _after_the_end(self, status: str, event: str) -> bool:
        if status in ("rejected", "never_landed"):
            if event == "ack":
                self.done, self.base = None, "working"
                return True
            return event in ("reject", "cancel_reject", "cancel_request") or (
                status == "never_landed" and event == "not_found"
            )
        return event in ("ack", "canceled", "expired", "cancel_reject", "replaced", "triggered", "cancel_request")

    def _while_open(self, status: str, event: str) -> bool:
        if event == "ack":
            if status in ("pending_new", "unknown", "pending_cancel"):
                self.base = "working"
                self.over.discard("unknown")
        elif event == "reject":
            if status == "partially_filled":
                self.done = "canceled"
            else:
                self.done = "rejected" if self.cum == 0 else "canceled"
        elif event in ("canceled", "expired"):
            self.done = event
        elif event == "triggered":
            self.base = "working"
            self.over.discard("unknown")
            self.over.add("triggered")
        elif event == "replaced":
            if status == "pending_new":
                return False
            self.qty, self.base = self.asked, "working"
            self.over -= {"replace", "unknown"}
        elif event == "cancel_reject":
            if status not in ("unknown", "pending_cancel", "pending_replace"):
                return False
            self.over -= {"cancel", "replace"}
        elif event == "not_found":
            if status not in ("unknown", "pending_cancel", "pending_replace"):
                return False
            self.done = "never_landed"
        elif event == "ambiguous":
            self.over.add("unknown")
        elif event == "cancel_request":
            self.over.add("cancel")
        elif event == "replace_request":
            if status not in ("new", "partially_filled"):
                return False
            self.over.add("replace")
        return True
