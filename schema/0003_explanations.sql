-- What a score rests on: the codes of its history and what each of them contributed, as JSON that the
-- store does not read. It is part of the score's row, so that whatever replaces or erases the score
-- takes it along.
ALTER TABLE scores ADD COLUMN explanation TEXT;
