DROP TABLE rack_units;
DROP TABLE racks;
