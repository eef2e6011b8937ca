-- The definition first: bmdb reads the views of all definitions, so it would report a failure for every
-- machine whose tags are written if a view were missing.
DELETE FROM process_def WHERE process = 'RacksFirmwareUpdate';
DROP VIEW firmware_workflow;
DROP TABLE firmware_installed;
DROP TABLE firmware_wanted;
