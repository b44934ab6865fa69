"""The federation protocol as a client library: encoding, keys, transports, modules. No policy, no storage."""
