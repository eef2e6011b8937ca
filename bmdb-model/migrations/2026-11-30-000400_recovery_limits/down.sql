UPDATE process_def
SET rest_initial_seconds = 30, rest_maximum_seconds = 3600, flapping_within_seconds = 60
WHERE process = 'ShepherdRecovery';
DELETE FROM process_breaker WHERE process = 'ShepherdRecovery';
DELETE FROM process_limit WHERE process = 'ShepherdRecovery';
