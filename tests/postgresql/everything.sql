-- A bit of everything that a database can hold, with the names that are hardest to write.

CREATE SCHEMA other AUTHORIZATION app_owner;
CREATE SCHEMA "Odd.Schema %s:x";
CREATE TYPE mood AS ENUM ('sad', 'o''k', 'über');
CREATE DOMAIN positive AS numeric CHECK (VALUE > 0 OR VALUE = 'NaN');
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE span AS RANGE (subtype = float8);

CREATE TABLE kinds (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number numeric, at timestamptz, local timestamp, span interval, raw bytea, j json, jb jsonb,
    many integer[], texts text[][], m mood, p positive, c pair, r span, ir int4range, mr int4multirange,
    x xml, u uuid, bits bit varying, ip inet, point point, tsv tsvector, d date, f float8, money money,
    double_number numeric GENERATED ALWAYS AS (number * 2) STORED
);
INSERT INTO kinds (number, at, local, span, raw, j, jb, many, texts, m, p, c, r, ir, mr, u, bits, ip,
    point, tsv, d, f, money) VALUES
    (123456789012345678901234567890.123456789, '2020-02-29 12:00:00.123456+05:30', 'infinity',
     '1 year 2 mons -3 days 04:05:06.7', '\x00ff5c0a', '{"a" :  1, "a": 2}', '{"b": [1, null, "\u00fc"]}',
     '[2:4]={1,NULL,3}', '{{a,"b,\"c"},{NULL,"NULL"}}', 'über', 7, ROW(1, E'x\ty'), '[0.1,0.30000000000000004)',
     '[1,5)', '{[1,3),[5,7)}', '00000000-0000-4000-8000-000000000001', B'10101', '::1/64', '(1.1,-0)',
     'a:1A fat:2B,4C', '4713-01-01 BC', 0.1, 1234.56),
    ('NaN', '-infinity', '0044-03-15 BC', '-1 mon', '', 'null', 'null', '{}', '{}', 'sad', 'NaN', NULL,
     'empty', 'empty', '{}', NULL, B'', '10.0.0.0/8', NULL, '', 'infinity', 'NaN', -0.01),
    ('Infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'o''k', NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, '-Infinity', NULL);
SELECT setval(pg_get_serial_sequence('kinds', 'id'), 4711, false);
CREATE TABLE big (id integer PRIMARY KEY, raw bytea);
INSERT INTO big SELECT 1, decode(repeat('00ff5c0a27', 3355444), 'hex');

CREATE TABLE texts (id serial PRIMARY KEY, value text);
INSERT INTO texts (value) VALUES (E'\\.'), (E'a\nb'), (E'\r'), (E'\t'), ('\N'), (''), (NULL), (E'\b\f\v'),
    ('COPY public.texts (id) FROM stdin;'), (repeat('x', 100000)), (E'-- Data for Name: x\n\\.\n');
SELECT nextval('texts_id_seq');
CREATE SEQUENCE "Loose ""seq""" START 5 INCREMENT -3 MINVALUE -100 MAXVALUE 10 CYCLE CACHE 7;
SELECT nextval('"Loose ""seq"""'), nextval('"Loose ""seq"""');

CREATE TABLE "Odd.Schema %s:x"."t ""a.b"" (c) % :d ü" ("co,l ""x"" %s :y" integer PRIMARY KEY, "b) c" text);
INSERT INTO "Odd.Schema %s:x"."t ""a.b"" (c) % :d ü" VALUES (1, 'x'), (2, 'y');
CREATE TABLE "a.b" (id integer PRIMARY KEY);
CREATE SCHEMA a;
CREATE TABLE a.b (id integer PRIMARY KEY);
CREATE SCHEMA "a.b";
CREATE TABLE "a.b".c (id integer PRIMARY KEY);
CREATE TABLE a."b.c" (id integer PRIMARY KEY);
INSERT INTO "a.b" VALUES (1), (2);
INSERT INTO a.b VALUES (1), (2), (3);
INSERT INTO "a.b".c VALUES (4), (5);
INSERT INTO a."b.c" VALUES (6);
CREATE TABLE "table" ("select" integer PRIMARY KEY, "User" text);
INSERT INTO "table" VALUES (1, 'u');
CREATE TABLE t_x123456789012345678901234567890123456789012345678901234567890 (id integer);
INSERT INTO t_x123456789012345678901234567890123456789012345678901234567890 VALUES (1);
CREATE TABLE other.texts (id serial PRIMARY KEY, value text);
INSERT INTO other.texts (value) VALUES ('another');
CREATE TABLE "line
break" (id integer PRIMARY KEY, "an
other" text);
INSERT INTO "line
break" VALUES (1, 'z');

CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE only_generated (g integer GENERATED ALWAYS AS (42) STORED);
INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE keyless (a integer, b text);
INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (2, NULL);
CREATE TABLE dropped (a integer, gone text, b integer DEFAULT 3 NOT NULL);
INSERT INTO dropped VALUES (1, 'x', 2);
ALTER TABLE dropped DROP COLUMN gone;
ALTER TABLE dropped ADD COLUMN later text DEFAULT 'fast';
CREATE TABLE parent (id integer PRIMARY KEY, name text);
CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (1, 'c', 'x'), (2, 'd', 'y');
CREATE UNLOGGED TABLE unlogged (id integer PRIMARY KEY);
INSERT INTO unlogged VALUES (1), (2);

CREATE TABLE parted (id integer, at date, kind text) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2021-01-01') PARTITION BY LIST (kind);
CREATE TABLE parted_1_a PARTITION OF parted_1 FOR VALUES IN ('a');
CREATE TABLE parted_1_rest PARTITION OF parted_1 DEFAULT;
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
CREATE INDEX ON parted (id);
INSERT INTO parted VALUES (1, '2020-05-05', 'a'), (2, '2020-05-05', 'b'), (3, '1999-01-01', 'c'), (4, NULL, NULL);
CREATE TABLE by_mood (m mood, id integer) PARTITION BY HASH (m);
CREATE TABLE by_mood_0 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_mood_1 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_mood SELECT m, n FROM unnest(enum_range(NULL::mood)) m, generate_series(1, 5) n;

CREATE TABLE chicken (id integer PRIMARY KEY, egg integer);
CREATE TABLE egg (id integer PRIMARY KEY, chicken integer REFERENCES chicken DEFERRABLE INITIALLY DEFERRED);
INSERT INTO chicken VALUES (1, 1);
INSERT INTO egg VALUES (1, 1);
ALTER TABLE chicken ADD FOREIGN KEY (egg) REFERENCES egg;
CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
CREATE TABLE late (id integer, up integer);
INSERT INTO late VALUES (-1, 99);
ALTER TABLE late ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
ALTER TABLE late ADD CONSTRAINT to_tree FOREIGN KEY (up) REFERENCES tree NOT VALID;
CREATE TABLE excluded (during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO excluded VALUES ('[1,2)'), ('[2,3)');
CREATE TABLE status (id integer PRIMARY KEY, state varchar(10) NOT NULL CHECK (state IN ('new', 'it''s', 'done')),
    level char(1) DEFAULT 'a' CHECK (level IN ('a', 'b')));
INSERT INTO status VALUES (1, 'new', 'b');
CREATE VIEW open_status AS SELECT * FROM status WHERE state NOT IN ('done', 'it''s');
CREATE STATISTICS status_stats (dependencies) ON id, state FROM status;
CREATE INDEX partial ON status (lower(state)) WHERE state IN ('new', 'done');

CREATE MATERIALIZED VIEW filled AS SELECT count(*) FROM kinds;
CREATE MATERIALIZED VIEW unfilled AS SELECT id FROM kinds WITH NO DATA;
CREATE MATERIALIZED VIEW of_filled AS SELECT * FROM filled;
CREATE UNIQUE INDEX ON filled (count);
CREATE VIEW first_view AS SELECT id, value FROM texts WITH CHECK OPTION;
CREATE VIEW second_view WITH (security_barrier) AS SELECT * FROM first_view;
CREATE RULE no_delete AS ON DELETE TO texts DO INSTEAD NOTHING;
CREATE FUNCTION guarded() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'guarded: %', NEW; END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON keyless FOR EACH ROW EXECUTE FUNCTION guarded();
CREATE TRIGGER sleeping BEFORE INSERT ON texts FOR EACH ROW EXECUTE FUNCTION guarded();
ALTER TABLE texts DISABLE TRIGGER sleeping;
CREATE TRIGGER always AFTER INSERT ON dropped FOR EACH ROW EXECUTE FUNCTION guarded();
ALTER TABLE dropped ENABLE ALWAYS TRIGGER always;
CREATE PROCEDURE proc(INOUT n integer) LANGUAGE sql AS $$ SELECT n + 1 $$;
CREATE FUNCTION body() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT count(*)::integer FROM kinds; END;
CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer);
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE EVENT TRIGGER watching ON sql_drop EXECUTE FUNCTION watch();
CREATE CAST (pair AS text) WITH INOUT;
CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq);
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION mine (COPY = simple);
CREATE PUBLICATION pub FOR TABLE texts;
CREATE PUBLICATION pub_schema FOR TABLES IN SCHEMA other;

CREATE TABLE secrets (id integer PRIMARY KEY, owner name);
INSERT INTO secrets VALUES (1, 'app_owner'), (2, 'app_reader');
ALTER TABLE secrets OWNER TO app_owner;
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secrets TO app_reader USING (owner = current_user);
ALTER TABLE other.texts OWNER TO "Mixed Role%";
GRANT SELECT, UPDATE (value) ON texts TO app_reader WITH GRANT OPTION;
GRANT SELECT ON secrets TO app_reader;
GRANT USAGE ON SCHEMA other TO "Mixed Role%";
REVOKE EXECUTE ON FUNCTION guarded() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO app_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT EXECUTE ON FUNCTIONS TO "Mixed Role%";
COMMENT ON TABLE texts IS E'it''s a
comment; with "quotes" % :x';
COMMENT ON COLUMN texts.value IS 'ü';
SELECT lo_from_bytea(4242, '\x000102ff'::bytea), lo_from_bytea(4243, ''::bytea);
COMMENT ON LARGE OBJECT 4242 IS 'large';
ALTER LARGE OBJECT 4243 OWNER TO app_owner;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere OPTIONS (host 'x');
CREATE USER MAPPING FOR app_owner SERVER far OPTIONS (password 'a''b');
CREATE FOREIGN TABLE abroad (id integer) SERVER far;
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('abc123');
