-- Budgets, what was spent and is held of each in each period, and which charge holds how much.

CREATE TABLE budgets (
    id TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    scope_value TEXT NOT NULL,
    period TEXT NOT NULL,
    zone TEXT NOT NULL,
    limit_nano_usd BIGINT NOT NULL,
    hard BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    UNIQUE (scope, scope_value, period)
);

-- `total` has one period, which starts at 0.
CREATE TABLE budget_periods (
    budget_id TEXT NOT NULL,
    period_start_ms BIGINT NOT NULL,
    spent_nano_usd BIGINT NOT NULL,
    reserved_nano_usd BIGINT NOT NULL,
    PRIMARY KEY (budget_id, period_start_ms)
);

-- There is a row exactly as long as its charge is open.
CREATE TABLE charge_reservations (
    charge_id TEXT NOT NULL,
    budget_id TEXT NOT NULL,
    period_start_ms BIGINT NOT NULL,
    nano_usd BIGINT NOT NULL,
    PRIMARY KEY (charge_id, budget_id)
)
--sqlite: WITHOUT ROWID
;
