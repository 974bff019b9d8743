"""What stops a start, or a command, on account of the database?

StoreFault
├── BadDatabaseUrl   `[database] url` names no usable database
├── NewerDatabase    the database was written by a newer release
├── OlderDatabase    the database has not been migrated yet
├── BadPepper        the pepper is missing, too short or unreadable
├── PepperMismatch   the pepper is not the one that the stored keys were made with
├── BadEncryptionKey        an encryption key is missing, unreadable, or none
└── EncryptionKeyMismatch   the key is not the one that the database was sealed with

The messages are for the operator and contain no secret.
"""

from __future__ import annotations


class StoreFault(Exception):
    """The store cannot be used as configured."""


class BadDatabaseUrl(StoreFault):
    pass


class NewerDatabase(StoreFault):
    pass


class OlderDatabase(StoreFault):
    pass


class BadPepper(StoreFault):
    pass


class PepperMismatch(StoreFault):
    pass


class BadEncryptionKey(StoreFault):
    pass


class EncryptionKeyMismatch(StoreFault):
    pass
