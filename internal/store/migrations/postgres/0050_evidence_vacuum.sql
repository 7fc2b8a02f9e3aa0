-- +goose Up
-- Pages of the explorer count entries of indexes alone, which works where the rows they
-- are of are known to be visible to everybody. That is told by a vacuum, and by default
-- one comes when a fifth of the table is new: the newest, which people look at.

ALTER TABLE evidence SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = 10000);
ALTER TABLE evidence_texts SET (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = 10000);
