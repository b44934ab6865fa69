"""What must hold, judged from outside."""
