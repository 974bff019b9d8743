-- Who changed what: one row per change, written in the change's own transaction. Never a secret.
-- `id` counts up without gaps, so a row that was taken out is missed. `before` and `after` are JSON
-- objects of what differs; both NULL where the object itself cannot be shown (the admin key).

CREATE TABLE audit (
    id BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    who TEXT NOT NULL,
    via TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    before TEXT,
    after TEXT
);

CREATE INDEX audit_by_object ON audit (object, id);
