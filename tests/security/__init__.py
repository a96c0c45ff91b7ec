"""What of the threat model no other test shows; docs/explanation/security.rst has it whole."""
