-- Instants get one width, `2026-01-01T00:00:00.000000Z`, so that they sort as text; before, the fraction had 0 to 9
-- digits and the offset was written out.
UPDATE audience SET created_at = substr(created_at, 1, 19) || '.' || substr(
    CASE WHEN substr(created_at, 20, 1) = '.' THEN replace(substr(created_at, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z';
UPDATE run SET as_of = substr(as_of, 1, 19) || '.' || substr(
    CASE WHEN substr(as_of, 20, 1) = '.' THEN replace(substr(as_of, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z';
UPDATE run SET started_at = substr(started_at, 1, 19) || '.' || substr(
    CASE WHEN substr(started_at, 20, 1) = '.' THEN replace(substr(started_at, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z';
UPDATE run SET finished_at = substr(finished_at, 1, 19) || '.' || substr(
    CASE WHEN substr(finished_at, 20, 1) = '.' THEN replace(substr(finished_at, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z'
    WHERE finished_at IS NOT NULL;
UPDATE observation SET as_of = substr(as_of, 1, 19) || '.' || substr(
    CASE WHEN substr(as_of, 20, 1) = '.' THEN replace(substr(as_of, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z';
UPDATE audit SET at = substr(at, 1, 19) || '.' || substr(
    CASE WHEN substr(at, 20, 1) = '.' THEN replace(substr(at, 21), '+00:00', '') ELSE '' END || '000000', 1, 6) || 'Z';
