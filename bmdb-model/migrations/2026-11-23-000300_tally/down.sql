DELETE FROM upkeep WHERE task = 'TrimTally';
DROP TABLE attempt_tally;
