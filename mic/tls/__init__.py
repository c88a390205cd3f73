"""Certificates and keys: checks of the files, and the certificate in force.

Knows TLS contexts; leaves connections to the HTTP side.
"""
