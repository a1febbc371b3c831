//! What a MySQL or MariaDB server says to an attempt at it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use testbed::database::Engine;

fuzz_target!(init: testbed::bug::watch(), |data: &[u8]| testbed_fuzz::server::attempt([Engine::Mysql, Engine::Mariadb], data));
