// Periods of the list of calls: all of them, unless the reader chooses.

export const PERIODS = [["", "Any time"], ["24h", "Last 24 h"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["90d", "Last 90 days"]];

/** Which of them the address says. */
export const periodQuery = (given) => (PERIODS.some(([id]) => id === given.period) ? given.period : "");
