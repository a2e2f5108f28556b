//! Orders of partitions over restarts, rebalances and resets, over a log in memory.

mod alarms;
mod handled;
mod restarts;
mod stage;
