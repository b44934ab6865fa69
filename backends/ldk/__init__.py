"""The Lightning node inside: LDK as the native part builds it, in this process."""
