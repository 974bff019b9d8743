-- What a key or a team may do, by name (gateway/keysettings.py). JSON objects.

ALTER TABLE keys ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';

ALTER TABLE teams ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
