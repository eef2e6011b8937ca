-- First: bmdb reads the views of all definitions, and a missing one would fail every write of a tag.
DELETE FROM process_def WHERE process = 'RacksFirmwareUpdate';
DROP VIEW firmware_workflow;
DROP TABLE firmware_installed;
DROP TABLE firmware_wanted;
