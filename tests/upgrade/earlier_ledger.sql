-- 0.1.0, 9296376e93079dc3560111a6e8b016d0fa49afa1
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.attempts (
    request_id text NOT NULL,
    number integer NOT NULL,
    at double precision NOT NULL,
    day text NOT NULL,
    tenant text NOT NULL,
    key text NOT NULL,
    policy text NOT NULL,
    tier text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    outcome text NOT NULL,
    prompt_tokens integer NOT NULL,
    cached_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    usd double precision NOT NULL,
    strongest_usd double precision NOT NULL,
    estimated integer NOT NULL,
    ttft_ms double precision,
    seconds double precision NOT NULL
);
CREATE TABLE public.decisions (
    request_id text NOT NULL,
    at double precision NOT NULL,
    record bytea NOT NULL
);
INSERT INTO public.attempts VALUES ('req-1', 0, 1790000000, '2026-09-21', 'acme', 'web', 'auto', 'large', 'big', 'openai', 'ok', 0, 0, 0, 0.25, 0, 0, NULL, 0);
INSERT INTO public.decisions VALUES ('req-1', 1790000000, '\x85a86465636973696f6e8aa474696572a56c61726765a6726561736f6ea462657374a966616c6c6261636b7390a6706f6c696379a46175746faa636f6d706c657869747984a56c6576656ca7636f6d706c6578a573636f7265cb3fe999999999999aa7705f6368656170cb3fd999999999999aa26279ab6d6f64656c3a2074657874a8666561747572657380ac616c7465726e6174697665739285a474696572a5736d616c6caa705f7375666669636573cb3fd999999999999aa3757364cb0000000000000000a7747466745f6d73c0a772656675736564c085a474696572a56c61726765aa705f7375666669636573cb3feccccccccccccda3757364cb3fd0000000000000a7747466745f6d73c0a772656675736564c0ae657363616c6174655f62656c6f77c0a86465677261646564c2a76d61785f757364c0a56d6f64656ca46175746fa56e6565647390ad70726f6d70745f746f6b656e7378aa6d61785f746f6b656e7340');
ALTER TABLE ONLY public.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (request_id, number, at);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (request_id, at);
CREATE INDEX attempts_by_day ON public.attempts USING btree (day, tenant, key, tier);
