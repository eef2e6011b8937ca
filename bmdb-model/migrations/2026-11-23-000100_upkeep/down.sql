ALTER TABLE work_attempt RESET (
    fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold
);
DROP TABLE upkeep;
