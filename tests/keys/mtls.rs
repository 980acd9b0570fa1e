//! Clients with certificates: who is let in, and for how long.

#![allow(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hyper::Method;
use keymanager::{ClientKey, KeyManager, RevocationReason};
use recseal::access::{self, ManageTokens, Principal, Role};
use recseal::clock::Timestamp;
use tokio::time::timeout;
use tokio_rustls::rustls::{HandshakeKind, version};
use zeroize::Zeroizing;

use crate::common::daemon::Daemon;
use crate::common::or_skip;
use crate::door::{DAY, Door, HOUR_MS, NOW_MS};

const CONFIG: &str = "[[client]]\nname = 'prometheus'\nrole = 'ops'\n";

/// An open door with an authority, in which `prometheus` is ops.
fn door() -> (tempfile::TempDir, Door) {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&folder.path().join("state"), CONFIG);
    door.keys().create_authority(NOW_MS).unwrap();
    (folder, door)
}

fn issue(keys: &KeyManager, name: &str, lifetime: Duration, now_ms: i64) -> Zeroizing<String> {
    keys.issue_client(name, ClientKey::MadeHere, lifetime, now_ms).unwrap().expose_bundle().clone()
}

fn token(door: &Door, role: Role) -> Zeroizing<String> {
    let grant = access::authorize::<ManageTokens>(&Principal::local(0, 0)).unwrap();
    let now = Timestamp::from_millis(door.now_ms());
    door.engine.create_token(&grant, "test", role, None, now).unwrap().1
}

/// Meant to catch: a certificate that stands for every role; a wrong token that falls back to
/// the certificate.
#[test]
fn a_certificate_opens_what_its_role_may() {
    let (_folder, door) = door();
    let known = door.client(Some(&issue(door.keys(), "prometheus", DAY, NOW_MS)));
    let unknown = door.client(Some(&issue(door.keys(), "grafana", DAY, NOW_MS)));
    let nobody = door.client(None);
    let admin = token(&door, Role::Admin);
    door.runtime.block_on(async {
        assert_eq!(known.get("/api/v1/status", None).await, Ok(200));
        assert_eq!(known.get("/api/v1/tokens", None).await, Ok(403));
        assert_eq!(known.get("/api/v1/tokens", Some(&admin)).await, Ok(200));
        assert_eq!(known.get("/api/v1/status", Some("rst_wrong")).await, Ok(401));
        assert_eq!(unknown.get("/api/v1/status", None).await, Ok(401), "nobody gave it a role");
        assert_eq!(nobody.get("/api/v1/status", None).await, Ok(401));
        assert_eq!(nobody.get("/api/v1/status", Some(&admin)).await, Ok(200));
        assert_eq!(nobody.get("/api/v1/ca/bundle", None).await, Ok(200));
        assert_eq!(nobody.get("/api/v1/ca", None).await, Ok(401));
    });
}

#[test]
fn a_certificate_of_a_strange_authority_ends_the_handshake() {
    let (folder, door) = door();
    let names = ["localhost".to_owned()];
    let strange = KeyManager::create(&folder.path().join("strange"), &names, NOW_MS).unwrap();
    strange.create_authority(NOW_MS).unwrap();
    let client = door.client(Some(&issue(&strange, "prometheus", DAY, NOW_MS)));
    let said = door.runtime.block_on(client.get("/api/v1/status", None));
    assert!(said.is_err(), "{said:?}");
}

/// Meant to catch: the server's session storage and tickets left as they are. The second
/// connection is resumed then, and the last one is let in though the certificate is over.
#[test]
fn a_stored_session_does_not_outlive_the_certificate() {
    for versions in [&[&version::TLS13][..], &[&version::TLS12]] {
        let (_folder, door) = door();
        let bundle = issue(door.keys(), "prometheus", DAY, NOW_MS);
        let client = door.client_of(Some(&bundle), versions);
        door.runtime.block_on(async {
            for _ in 0..3 {
                assert_eq!(client.get("/api/v1/status", None).await, Ok(200));
            }
            let stream = client.connect().await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            drop(stream);
            door.pass(25 * HOUR_MS);
            let said = client.get("/api/v1/status", None).await;
            assert!(said.is_err(), "{versions:?}: {said:?}");
        });
    }
}

/// Planted faults: the look at dates only at the handshake; `is_accepted` that forgets them.
#[test]
fn an_open_connection_does_not_outlive_the_certificate() {
    let (_folder, door) = door();
    let bundle = issue(door.keys(), "prometheus", DAY, NOW_MS);
    let client = door.client(Some(&bundle));
    door.runtime.block_on(async {
        let mut open = client.open().await.unwrap();
        assert_eq!(open.status().await, Ok(200));
        door.pass(-3 * HOUR_MS);
        assert_eq!(open.status().await, Ok(401), "not valid yet");
        door.pass(3 * HOUR_MS + 24 * HOUR_MS - 200);
        assert_eq!(open.status().await, Ok(200));
        // A connection that is made now is told to end after 200 ms, without a request.
        let late = client.open().await.unwrap();
        timeout(Duration::from_secs(20), late.ended).await.unwrap().unwrap();
        door.pass(1_200);
        assert_eq!(open.status().await, Ok(401), "over");
    });
}

/// Planted faults: revocation without a word to the list of connections, and a list that ends
/// everybody's.
#[test]
fn revoking_ends_open_connections_at_once() {
    let (_folder, door) = door();
    let (good, bad) = (issue(door.keys(), "prometheus", DAY, NOW_MS), "prometheus");
    let issued = door.keys().issue_client(bad, ClientKey::MadeHere, DAY, NOW_MS).unwrap();
    let good = door.client(Some(&good));
    let bad = door.client(Some(issued.expose_bundle()));
    let admin = token(&door, Role::Admin);
    door.runtime.block_on(async {
        let (mut kept, mut cut) = (good.open().await.unwrap(), bad.open().await.unwrap());
        assert_eq!((kept.status().await, cut.status().await), (Ok(200), Ok(200)));
        assert_eq!(door.connections.len(), 2);
        let mut caller = door.client(None).open().await.unwrap();
        let path = format!("/api/v1/ca/certificates/{}/revoke", issued.info.serial);
        let body = r#"{"reason": "key-compromise"}"#;
        let (status, answer) = caller.ask(Method::POST, &path, Some(&admin), body).await.unwrap();
        assert_eq!(status, 200, "{answer:?}");
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["connections_ended"], 1);
        timeout(Duration::from_secs(20), cut.ended).await.unwrap().unwrap();
        assert_eq!(kept.status().await, Ok(200), "the other one of that name lives on");
        assert!(bad.get("/api/v1/status", None).await.is_err(), "the handshake refuses it now");
        assert_eq!(good.get("/api/v1/status", None).await, Ok(200));
        let again = caller.ask(Method::POST, &path, Some(&admin), body).await.unwrap();
        assert_eq!(again.0, 409);
        let unknown = path.replace(&issued.info.serial, "00");
        assert_eq!(caller.ask(Method::POST, &unknown, Some(&admin), body).await.unwrap().0, 404);
    });
}

/// Meant to catch: a stale list that is ignored accepts what was revoked since.
#[test]
fn a_stale_revocation_list_refuses_everybody_until_it_is_renewed() {
    let (_folder, door) = door();
    let client = door.client(Some(&issue(door.keys(), "prometheus", 30 * DAY, NOW_MS)));
    door.runtime.block_on(async {
        let now_ms = door.pass(8 * 24 * HOUR_MS);
        assert!(client.get("/api/v1/status", None).await.is_err());
        door.keys().tend_authority(now_ms).unwrap();
        assert_eq!(client.get("/api/v1/status", None).await, Ok(200));
    });
}

/// Roll-over under clients: what the old authority signed works until it is over or tainted and
/// revoked; what the new one signs works at once.
#[test]
fn an_authority_is_replaced_under_its_clients() {
    let (_folder, door) = door();
    let keys = door.keys();
    let old = door.client(Some(&issue(keys, "prometheus", 30 * DAY, NOW_MS)));
    assert_eq!(keys.prepare_authority(NOW_MS).unwrap(), 2);
    assert_eq!(keys.activate_authority(NOW_MS).unwrap(), 2);
    let new = door.client(Some(&issue(keys, "prometheus", 30 * DAY, NOW_MS)));
    let admin = token(&door, Role::Admin);
    door.runtime.block_on(async {
        for client in [&old, &new] {
            assert_eq!(client.get("/api/v1/status", None).await, Ok(200));
        }
        let mut caller = door.client(None).open().await.unwrap();
        let mut post = async |act: &str, body: &str| {
            let path = format!("/api/v1/ca/{act}");
            caller.ask(Method::POST, &path, Some(&admin), body).await.unwrap().0
        };
        assert_eq!(post("revoke", r#"{"number": 1}"#).await, 409, "not tainted yet");
        assert_eq!(post("taint", r#"{"number": 1}"#).await, 200);
        assert_eq!(old.get("/api/v1/status", None).await, Ok(200));
        let third = door.client(Some(&issue(keys, "prometheus", DAY, NOW_MS)));
        let open = old.open().await.unwrap();
        assert_eq!(post("revoke", r#"{"number": 1}"#).await, 200);
        timeout(Duration::from_secs(20), open.ended).await.unwrap().unwrap();
        for client in [&old, &new] {
            assert!(client.get("/api/v1/status", None).await.is_err());
        }
        assert_eq!(third.get("/api/v1/status", None).await, Ok(200));
    });
}

/// Meant to catch: the server goes on under a certificate that nobody may trust any more.
#[test]
fn tainting_replaces_the_servers_own_certificate_and_says_so() {
    let (_folder, door) = door();
    let keys = door.keys();
    keys.issue_own_from_authority(&["localhost".to_owned()], NOW_MS).unwrap();
    let (before, now) = (keys.tls().facts(), Timestamp::from_millis(NOW_MS));
    let warns = || {
        let status = door.engine.status(now).unwrap();
        status.warnings.iter().any(|warning| warning.code == "authority-tainted")
    };
    assert!(!warns());
    let root = Principal::local(0, 0);
    let grant = access::authorize::<access::ManageCertificates>(&root).unwrap();
    assert_eq!(door.engine.taint_authority(&grant, 1, now).unwrap(), 2);
    assert!(warns());
    assert_ne!(keys.tls().facts().sha256, before.sha256);
    assert_eq!(keys.tls().facts().names, before.names);
    let client = door.client(None);
    assert_eq!(door.runtime.block_on(client.get("/api/v1/ca/bundle", None)), Ok(200));
    door.engine.revoke_authority(&grant, 1, now).unwrap();
    assert!(!warns());
}

/// The state folder is started again with another configuration.
#[test]
fn without_its_line_in_the_configuration_a_certificate_is_nobody() {
    let (folder, door) = door();
    let bundle = issue(door.keys(), "prometheus", DAY, NOW_MS);
    let state = folder.path().join("state");
    drop(door);
    for (config, says) in [
        (CONFIG, Ok(200)),
        ("", Ok(401)),
        ("[[client]]\nname = 'grafana'\nrole = 'ops'", Ok(401)),
        // Nobody is asked for a certificate, so none is shown.
        ("[listen]\nclient_certificates = 'off'", Ok(401)),
        // A file that is not there: our own clients are known all the same.
        (
            "[listen]\nclient_ca = '/nonexistent/ca.pem'\n[[client]]\nname='prometheus'\nrole='ops'",
            Ok(200),
        ),
    ] {
        let door = Door::open(&state, config);
        let client = door.client(Some(&bundle));
        assert_eq!(door.runtime.block_on(client.get("/api/v1/status", None)), says, "{config}");
    }
}

fn openssl(folder: &Path, args: &str) -> Result<String, String> {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).output();
    let output = output.map_err(|error| format!("openssl does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text.into_owned()) } else { Err(text.into_owned()) }
}

/// A second opinion on our chains and lists. Meant to catch: a path length on the root; no
/// authority key identifier.
#[test]
fn openssl_agrees_strictly() {
    let folder = tempfile::tempdir().unwrap();
    or_skip!(openssl(folder.path(), "version"));
    let names = ["localhost".to_owned()];
    let keys = KeyManager::create(&folder.path().join("keys"), &names, NOW_MS).unwrap();
    keys.create_authority(NOW_MS).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let bad = keys.issue_client("bad", ClientKey::MadeHere, DAY, NOW_MS).unwrap();
    write("bad.pem", bad.expose_bundle());
    write("root1.pem", &keys.authority_bundle_pem().unwrap());
    keys.revoke_certificate(&bad.info.serial, RevocationReason::KeyCompromise, NOW_MS).unwrap();
    write("crl.pem", &keys.authority_crl_pem().unwrap());
    let check = |options: &str, at_ms: i64| {
        let at_s = at_ms / 1_000;
        openssl(folder.path(), &format!("verify -x509_strict -attime {at_s} {options}"))
    };
    let said = check("-purpose sslclient -CAfile root1.pem -untrusted bad.pem bad.pem", NOW_MS);
    said.unwrap();
    let revoked =
        check("-crl_check -CRLfile crl.pem -CAfile root1.pem -untrusted bad.pem bad.pem", NOW_MS);
    assert!(revoked.unwrap_err().contains("certificate revoked"));
    let text = openssl(folder.path(), "crl -in crl.pem -noout -text").unwrap();
    assert!(text.contains("Key Compromise") && text.contains("X509v3 CRL Number"), "{text}");

    // Nine years later there is a second root, cross-certified by the first one.
    let late_ms = NOW_MS + 9 * 365 * 24 * HOUR_MS;
    keys.tend_authority(late_ms).unwrap();
    keys.issue_own_from_authority(&names, late_ms).unwrap();
    assert_eq!(keys.certificate_source().as_str(), "internal-ca");
    write("own.pem", &keys.tls().chain_pem());
    let late = issue(&keys, "late", DAY, late_ms);
    write("late.pem", &late);
    write("both.pem", &keys.authority_bundle_pem().unwrap());
    let second = keys.authority_bundle_pem().unwrap();
    let second = second.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
    write("root2.pem", second);
    for roots in ["root1.pem", "root2.pem", "both.pem"] {
        let server = format!("-purpose sslserver -CAfile {roots} -untrusted own.pem own.pem");
        check(&server, late_ms).unwrap_or_else(|error| panic!("{roots}: {error}"));
        let client = format!("-purpose sslclient -CAfile {roots} -untrusted late.pem late.pem");
        check(&client, late_ms).unwrap_or_else(|error| panic!("{roots}: {error}"));
    }
    write("crl.pem", &keys.authority_crl_pem().unwrap());
    check("-crl_check -CRLfile crl.pem -CAfile both.pem -untrusted late.pem late.pem", late_ms)
        .unwrap();
}

/// Requests as openssl makes them: every kind of key that we certify, and one that we do not.
#[test]
fn requests_of_openssl_are_certified_by_their_key() {
    let folder = tempfile::tempdir().unwrap();
    or_skip!(openssl(folder.path(), "version"));
    let names = ["localhost".to_owned()];
    let keys = KeyManager::create(&folder.path().join("keys"), &names, NOW_MS).unwrap();
    keys.create_authority(NOW_MS).unwrap();
    std::fs::write(folder.path().join("root.pem"), keys.authority_bundle_pem().unwrap()).unwrap();
    for (kind, is_taken) in [
        ("ec -pkeyopt ec_paramgen_curve:P-256", true),
        ("ec -pkeyopt ec_paramgen_curve:P-384", true),
        ("ec -pkeyopt ec_paramgen_curve:secp256k1", false),
        ("rsa:2048", true),
        ("rsa:1024", false),
        ("ed25519", true),
    ] {
        let make = "req -new -nodes -subj /CN=evil -addext basicConstraints=CA:TRUE";
        openssl(folder.path(), &format!("{make} -newkey {kind} -keyout k.pem -out r.pem")).unwrap();
        let request = std::fs::read(folder.path().join("r.pem")).unwrap();
        let issued = keys.issue_client("rec-7", ClientKey::Request(&request), DAY, NOW_MS);
        assert_eq!(issued.is_ok(), is_taken, "{kind}: {issued:?}");
        let Ok(issued) = issued else { continue };
        assert!(!issued.expose_bundle().contains("PRIVATE"));
        std::fs::write(folder.path().join("c.pem"), issued.expose_bundle().as_bytes()).unwrap();
        let at = format!("-attime {}", NOW_MS / 1_000);
        let verify = format!("verify -x509_strict {at} -CAfile root.pem -untrusted c.pem c.pem");
        openssl(folder.path(), &verify).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let of_key = openssl(folder.path(), "pkey -in k.pem -pubout").unwrap();
        let of_certificate = openssl(folder.path(), "x509 -in c.pem -noout -pubkey").unwrap();
        assert_eq!(of_certificate, of_key, "{kind}");
        let text = openssl(folder.path(), "x509 -in c.pem -noout -text").unwrap();
        assert!(text.contains("CA:FALSE") && !text.contains("evil"), "{text}");
    }
}

/// Clients of another authority, by host name and by common name. Meant to catch: a certificate of
/// theirs that carries our URI is taken for ours.
#[test]
fn another_authority_may_name_clients() {
    let folder = tempfile::tempdir().unwrap();
    or_skip!(openssl(folder.path(), "version"));
    let ssl = |args: &str| openssl(folder.path(), args).unwrap();
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    ssl(&format!("req -x509 -subj /CN=Corp {ec} -keyout ca.key -out ca.pem -days 3650"));
    let mut bundles = Vec::new();
    for (name, extension) in [
        ("cn", "basicConstraints=CA:FALSE"),
        ("dns", "subjectAltName=DNS:mon.example"),
        ("uri", "subjectAltName=URI:recseal:client/prometheus"),
    ] {
        ssl(&format!("req -new -subj /CN={name}.example {ec} -keyout {name}.key -out {name}.csr"));
        std::fs::write(folder.path().join("ext"), extension).unwrap();
        ssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 30 -extfile ext -out {name}.pem"
        ));
        let file = |suffix: &str| {
            std::fs::read_to_string(folder.path().join(format!("{name}.{suffix}"))).unwrap()
        };
        bundles.push(file("key") + &file("pem"));
    }
    // openssl dates by the real clock, in whole seconds.
    let now_ms = real_now_ms() + HOUR_MS;
    let ca = folder.path().join("ca.pem");
    let config = format!(
        "[listen]\nclient_ca = '{}'\n{CONFIG}[[client]]\nname='mon.example'\nrole='ops'\n\
         [[client]]\nname='cn.example'\nrole='ops'",
        ca.display()
    );
    for has_authority in [false, true] {
        let state = folder.path().join(format!("state-{has_authority}"));
        let door = Door::open(&state, &config);
        door.now.store(now_ms, std::sync::atomic::Ordering::SeqCst);
        door.keys().ensure_certificate(now_ms).unwrap();
        if has_authority {
            door.keys().create_authority(now_ms).unwrap();
        }
        door.runtime.block_on(async {
            for (bundle, says) in bundles.iter().zip([200, 200, 401]) {
                let client = door.client(Some(bundle));
                assert_eq!(client.get("/api/v1/status", None).await, Ok(says));
            }
        });
        if has_authority {
            let own = door.client(Some(&issue(door.keys(), "prometheus", DAY, now_ms)));
            assert_eq!(door.runtime.block_on(own.get("/api/v1/status", None)), Ok(200));
        }
    }
}

fn real_now_ms() -> i64 {
    recseal::clock::Clock::System.now().as_millis()
}

/// What the best known scanners say about the door, as it is for a client without a certificate.
#[test]
fn scanners_find_nothing_weak() {
    let (_folder, door) = door();
    let port = door.address.port().to_string();
    let nmap = Command::new("nmap")
        .args(["-Pn", "--script", "ssl-enum-ciphers", "-p", &port, "127.0.0.1"])
        .output();
    let report = or_skip!(nmap.map_err(|error| format!("nmap does not run: {error}")));
    let report = String::from_utf8_lossy(&report.stdout);
    assert!(report.contains("TLSv1.2") && report.contains("TLSv1.3"), "{report}");
    assert!(report.contains("least strength: A"), "{report}");
    assert!(!report.contains("TLSv1.0") && !report.contains("warnings"), "{report}");
}

/// Mozilla's intermediate profile, for a certificate of our own authority.
#[test]
fn the_door_complies_with_mozillas_intermediate_profile() {
    let version = Command::new("sslyze").arg("--help").output();
    or_skip!(version.map_err(|error| format!("sslyze does not run: {error}")));
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(&folder.path().join("state"), CONFIG);
    let now_ms = real_now_ms();
    door.now.store(now_ms, std::sync::atomic::Ordering::SeqCst);
    door.keys().create_authority(now_ms).unwrap();
    door.keys().issue_own_from_authority(&["localhost".to_owned()], now_ms).unwrap();
    let root = folder.path().join("root.pem");
    std::fs::write(&root, door.keys().authority_bundle_pem().unwrap()).unwrap();
    let scan = Command::new("sslyze")
        .arg("--mozilla_config=intermediate")
        .arg("--certinfo_ca_file")
        .arg(&root)
        .arg(format!("localhost:{}", door.address.port()))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&scan.stdout);
    assert!(scan.status.success() && report.contains("Compliant"), "{report}");
}

/// The whole program: an authority made, certificates issued and revoked by command, the client
/// certificate shown by another program.
#[test]
fn by_command_and_with_curl() {
    let curl = Command::new("curl").arg("--version").output();
    or_skip!(curl.map_err(|error| format!("curl does not run: {error}")));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("recseal.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut daemon = Daemon::start(&["--config", config.to_str().unwrap()]);
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let exit = |args: &[&str]| daemon.recseal(args).status.code();
    assert_eq!(exit(&["certs", "ca", "bundle"]), Some(6));
    assert_eq!(exit(&["certs", "issue", "prometheus", "-o", &file("p.pem")]), Some(6));
    assert!(!folder.path().join("p.pem").exists());
    assert_eq!(daemon.json(&["certs", "ca", "create"])["created"], true);
    assert_eq!(exit(&["certs", "ca", "create"]), Some(5));
    let issued = daemon.json(&["certs", "issue", "prometheus", "-o", &file("p.pem")]);
    let serial = issued["serial"].as_str().unwrap();
    assert_eq!(exit(&["certs", "issue", "a b", "-o", &file("q.pem")]), Some(5));
    std::fs::write(file("own.pem"), daemon.recseal(&["certs", "show", "--pem"]).stdout).unwrap();
    let address = daemon.json(&["status"])["listen"]["https"].as_str().unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap();
    let curl = |certificate: bool| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert", &file("own.pem")]);
        if certificate {
            curl.args(["--cert", &file("p.pem")]);
        }
        let url = format!("https://localhost:{port}/api/v1/status");
        String::from_utf8(curl.arg(url).output().unwrap().stdout).unwrap()
    };
    assert_eq!((curl(true).as_str(), curl(false).as_str()), ("200", "401"));
    let listed = daemon.json(&["certs", "issued"]);
    assert_eq!((&listed[0]["serial"], &listed[0]["name"]), (&issued["serial"], &issued["name"]));
    assert_eq!(exit(&["certs", "revoke", serial, "--reason", "boredom"]), Some(2));
    daemon.json(&["certs", "revoke", &serial.to_uppercase(), "--reason", "superseded"]);
    assert_eq!(exit(&["certs", "revoke", serial]), Some(5));
    assert_eq!(exit(&["certs", "revoke", "00"]), Some(6));
    assert_eq!(curl(true), "000", "the handshake refuses it");
    assert_eq!(exit(&["certs", "ca", "taint", "1"]), Some(2), "it wants --yes");
    assert_eq!(daemon.json(&["certs", "ca", "prepare"])["prepared"], 2);
    assert_eq!(daemon.json(&["certs", "ca", "activate"])["active"], 2);
    assert_eq!(daemon.json(&["certs", "ca", "taint", "2", "--yes"])["active"], 3);
    assert_eq!(daemon.json(&["certs", "ca", "revoke", "2", "--yes"])["revoked"], 2);
    let states = |daemon: &Daemon| {
        let show = daemon.json(&["certs", "ca", "show"]);
        let states = show["issuing"].as_array().unwrap().iter();
        states.map(|issuing| issuing["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = states(&daemon);
    assert_eq!(before, ["revoked", "revoked", "active"]);
    let issued = daemon.json(&["audit", "--activity", "CERTIFICATE_ISSUED"]);
    assert_eq!(issued.as_array().unwrap().len(), 1);
    daemon.kill_nine();
    daemon.start_again();
    assert_eq!(states(&daemon), before);
}
