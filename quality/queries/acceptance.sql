-- What became of the texts of each dataset, kind and teacher.
FROM acceptance();
