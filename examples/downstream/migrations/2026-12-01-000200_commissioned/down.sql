DROP TABLE commissioned;
