-- The definition first: bmdb reads the views of all definitions, so every write of a tag would fail if
-- a view were missing.
DELETE FROM process_def WHERE process = 'RacksFirmwareUpdate';
DROP VIEW firmware_workflow;
DROP TABLE firmware_installed;
DROP TABLE firmware_wanted;
