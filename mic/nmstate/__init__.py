"""NMState documents to NetworkManager keyfiles."""
