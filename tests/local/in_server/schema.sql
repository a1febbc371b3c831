-- One of everything that a database of MariaDB can have in it.
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION';
SET NAMES utf8mb4;
ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_german2_ci;

CREATE TABLE customer (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT 'it''s \\ "new" `x`',
  town VARCHAR(50) DEFAULT 'Köln' COMMENT 'where; `shop`.x is no name here',
  born DATE NOT NULL DEFAULT '0000-00-00',
  seen TIMESTAMP NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp(),
  secret INT INVISIBLE DEFAULT 7,
  initial CHAR(1) GENERATED ALWAYS AS (left(name, 1)) VIRTUAL,
  loud VARCHAR(100) CHARACTER SET utf8mb4 AS (upper(name)) STORED,
  picture BLOB,
  ratio FLOAT,
  place POINT,
  flags SET('a','bc') NOT NULL DEFAULT '',
  bits BIT(5) DEFAULT b'10101',
  document LONGTEXT CHECK (json_valid(document)),
  UNIQUE KEY name_town (name(20), town DESC),
  KEY initial (initial),
  FULLTEXT KEY words (town),
  CONSTRAINT sensible CHECK (ratio >= 0)
) ENGINE=InnoDB COMMENT='people' ROW_FORMAT=DYNAMIC;
INSERT INTO customer (id, name, born, seen, secret, picture, ratio, place, flags) VALUES
  (0, 'zero', '0000-00-00', '2020-01-01 00:00:00', 1, x'00ff27225c', 0.1, ST_GeomFromText('POINT(1 2)'), 'a,bc'),
  (7, 'Übel 🦀', '1999-12-31', '2021-01-01 00:00:00', 2, NULL, 1e10 / 3, NULL, '');
ALTER TABLE customer AUTO_INCREMENT = 1000;
-- A row that its check would not take today.
SET check_constraint_checks = 0;
INSERT INTO customer (id, name, document, seen) VALUES (8, 'broken', 'no JSON', '2021-01-01 00:00:00');
SET check_constraint_checks = 1;

-- Two that refer to each other, in an order in which neither can come first; and one in another schema.
SET foreign_key_checks = 0;
CREATE TABLE a_first (id INT PRIMARY KEY, z INT, CONSTRAINT loops FOREIGN KEY (z) REFERENCES z_last (id) ON DELETE SET NULL);
CREATE TABLE z_last (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES a_first (id) ON UPDATE CASCADE);
INSERT INTO a_first VALUES (1, 1), (2, 99);
INSERT INTO z_last VALUES (1, 1);
CREATE TABLE abroad (id INT PRIMARY KEY, e INT, FOREIGN KEY (e) REFERENCES elsewhere.far (id));
INSERT INTO abroad VALUES (1, 5);
SET foreign_key_checks = 1;

CREATE TABLE log (id INT AUTO_INCREMENT, what VARCHAR(100), at DATETIME(6), PRIMARY KEY (id, at)) ENGINE=Aria TRANSACTIONAL=0
  PARTITION BY RANGE (YEAR(at)) (PARTITION old VALUES LESS THAN (2000), PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO log VALUES (1, 'old', '1999-01-01 00:00:00.123456'), (2, 'new', '2020-01-01');
CREATE TABLE keyed (id INT PRIMARY KEY) ENGINE=MyISAM PARTITION BY KEY () PARTITIONS 3;
INSERT INTO keyed VALUES (1), (2), (3);
CREATE TABLE `odd ``name%_` (`a b` INT, `ü``` INT, `select` INT) ENGINE=MyISAM;
INSERT INTO `odd ``name%_` VALUES (1, 2, 3);
CREATE TABLE merged_a (n INT) ENGINE=MyISAM;
CREATE TABLE merged_b (n INT) ENGINE=MyISAM;
INSERT INTO merged_a VALUES (1);
CREATE TABLE merged (n INT) ENGINE=MERGE UNION=(merged_a, merged_b) INSERT_METHOD=LAST;
CREATE TABLE empty_one (id SERIAL, n UUID DEFAULT uuid(), ip INET6);
CREATE TABLE in_memory (n INT) ENGINE=MEMORY;
INSERT INTO in_memory VALUES (1);

-- With a history, once of columns that nobody sees, once of named ones.
SET timestamp = unix_timestamp('2020-01-01 00:00:00');
CREATE TABLE price (item INT PRIMARY KEY, amount DECIMAL(8,2)) WITH SYSTEM VERSIONING;
INSERT INTO price VALUES (1, 1.5), (2, 2);
CREATE TABLE rate (item INT, amount INT, since TIMESTAMP(6) GENERATED ALWAYS AS ROW START, till TIMESTAMP(6) GENERATED ALWAYS AS ROW END,
  PERIOD FOR SYSTEM_TIME (since, till)) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION p0 HISTORY, PARTITION pn CURRENT);
INSERT INTO rate (item, amount) VALUES (1, 10);
SET timestamp = unix_timestamp('2021-01-01 00:00:00');
UPDATE price SET amount = 3 WHERE item = 1;
DELETE FROM price WHERE item = 2;
UPDATE rate SET amount = 11;
SET timestamp = DEFAULT;
CREATE TABLE booking (room INT, von DATE, bis DATE, PERIOD FOR stay (von, bis), UNIQUE (room, stay WITHOUT OVERLAPS));
INSERT INTO booking VALUES (1, '2020-01-01', '2020-02-01'), (1, '2020-02-01', '2020-03-01');

CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 MAXVALUE 1000 CACHE 10 CYCLE;
DO NEXT VALUE FOR numbers;
CREATE TABLE numbered (n INT NOT NULL DEFAULT (NEXT VALUE FOR numbers), what INT);
INSERT INTO numbered (what) VALUES (1);

DELIMITER //
CREATE FUNCTION doubled(n INT) RETURNS INT DETERMINISTIC RETURN n * 2//
CREATE AGGREGATE FUNCTION total(n INT) RETURNS INT
BEGIN
  DECLARE sum INT DEFAULT 0;
  DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN sum;
  LOOP FETCH GROUP NEXT ROW; SET sum = sum + n; END LOOP;
END//
CREATE DEFINER = 'app'@'%' PROCEDURE note(IN what VARCHAR(100), OUT id INT) MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s'
BEGIN
  -- Köln; a comment that says shop
  INSERT INTO log (what, at) VALUES (concat(what, 'é'), now(6));
  SET id = last_insert_id();
END//
SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'//
CREATE PROCEDURE quoted() SELECT "what" || '\' FROM "log"//
SET sql_mode = 'ORACLE'//
CREATE PACKAGE tools AS
  FUNCTION one RETURN INT;
END;
//
CREATE PACKAGE BODY tools AS
  FUNCTION one RETURN INT AS BEGIN RETURN 1; END;
END;
//
SET sql_mode = ''//
SET NAMES latin1//
CREATE PROCEDURE in_latin1() SELECT 'K�ln'//
CREATE VIEW latin AS SELECT 'K�ln' AS town//
SET NAMES utf8mb4 COLLATE utf8mb4_polish_ci//
-- Each trigger changes what it sees, so that a copy whose triggers are in another order, or fire as it is filled, differs.
CREATE TRIGGER second BEFORE INSERT ON customer FOR EACH ROW SET NEW.town = concat(NEW.town, '2')//
CREATE TRIGGER first BEFORE INSERT ON customer FOR EACH ROW PRECEDES second SET NEW.town = concat(NEW.town, '1')//
CREATE DEFINER = 'app'@'%' TRIGGER tells AFTER INSERT ON customer FOR EACH ROW
BEGIN
  INSERT INTO log (what, at) VALUES (NEW.name, now(6));
END//
CREATE TRIGGER on_log BEFORE DELETE ON log FOR EACH ROW SET @gone = OLD.id//

SET time_zone = '+03:00'//
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2036-01-01 03:00:00' ON COMPLETION PRESERVE COMMENT 'often' DO DELETE FROM log WHERE id = 1//
CREATE EVENT disabled ON SCHEDULE EVERY 2 HOUR STARTS '2036-01-01 00:00:00' ENDS '2037-01-01 00:00:00' DISABLE DO CALL quoted()//
SET timestamp = unix_timestamp('2020-01-01 00:00:00')//
CREATE EVENT once ON SCHEDULE AT '2020-01-02 00:00:00' DO SELECT 1//
SET timestamp = DEFAULT//
SET time_zone = DEFAULT//

-- Each uses one that comes later in the order of names.
CREATE DEFINER = 'app'@'%' SQL SECURITY INVOKER VIEW v3 AS SELECT id, name, doubled(id) AS twice FROM customer WHERE id > 0 WITH CASCADED CHECK OPTION//
CREATE ALGORITHM = TEMPTABLE VIEW v2 AS SELECT count(*) AS n FROM v3//
CREATE ALGORITHM = MERGE VIEW v1 AS SELECT v2.n, v3.name FROM v2 JOIN v3 WHERE v3.name <> 'it''s \\'//
CREATE VIEW abroad_view AS SELECT f.id, a.e, doubled(f.id) AS twice FROM elsewhere.far f JOIN abroad a ON a.e = f.id//
DELIMITER ;
