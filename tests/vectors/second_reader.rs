//! A second reader and writer of sealed files, written from `src/manual/format.md` alone. It
//! shares neither code nor ciphers with recseal, and is as simple as it can be instead of fast.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha384};

/// The five lines of a key file.
pub(crate) struct KeyFile {
    pub(crate) recording: [u8; 16],
    pub(crate) key_id: [u8; 16],
    pub(crate) key: Vec<u8>,
}

impl KeyFile {
    pub(crate) fn read(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let [title, recording, key_id, key, check] = lines[..] else { panic!("not five lines") };
        assert_eq!(title, "recseal data key, version 1");
        let above = format!("{title}\n{recording}\n{key_id}\n{key}\n");
        let sum = hex::encode(&Sha256::digest(above)[..8]);
        assert_eq!(check, format!("check {sum}"));
        let uuid = |line: &str, name| {
            let text = line.strip_prefix(name).unwrap().replace('-', "");
            hex::decode(&text).try_into().unwrap()
        };
        Self {
            recording: uuid(recording, "recording "),
            key_id: uuid(key_id, "key-id "),
            key: hex::decode(key.strip_prefix("key ").unwrap()),
        }
    }
}

/// The whole plaintext, or at which step the file was refused.
pub(crate) fn open(key: &KeyFile, file: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (prefix, message) = file.split_at_checked(64).ok_or("prefix")?;
    let (header, body) = message.split_at_checked(74).ok_or("header")?;
    if prefix != prefix_of(key, prefix[40]) || prefix[40] > 2 {
        return Err("prefix");
    }
    let (context, tag) = header.split_at(42);
    if context[..10] != PARAMETERS {
        return Err("parameters");
    }
    if tag != &expand(&key.key, &[context, b"HEADER_TAG:", prefix])[..32] {
        return Err("header tag");
    }
    let chunks: Vec<_> = body.chunks(CHUNK).collect();
    if chunks.last().is_none_or(|last| last.len() < 32) {
        return Err("length");
    }
    let mut plain = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let is_last = index + 1 == chunks.len();
        let mark = if is_last { chunk.len() as u32 } else { u32::MAX };
        if chunk[..4] != mark.to_be_bytes() {
            return Err("length mark");
        }
        let (cipher, aad) = cipher(key, context, prefix, index, is_last);
        let nonce = Nonce::try_from(&chunk[4..16]).unwrap();
        let payload = Payload { msg: &chunk[16..], aad: &aad };
        plain.extend(cipher.decrypt(&nonce, payload).map_err(|_| "chunk")?);
    }
    Ok(plain)
}

/// Seals as the section on test vectors says, with IVs that can be told beforehand.
pub(crate) fn seal(key: &KeyFile, kind: u8, iv: &[u8], texts: &[&[u8]]) -> Vec<u8> {
    let prefix = prefix_of(key, kind);
    let context = [&PARAMETERS, iv].concat();
    let tag = expand(&key.key, &[&context, b"HEADER_TAG:", &prefix]);
    let mut file = [&prefix, &context[..], &tag[..32]].concat();
    for (index, text) in texts.iter().enumerate() {
        let is_last = index + 1 == texts.len();
        let (cipher, aad) = cipher(key, &context, &prefix, index, is_last);
        let chunk_iv = Sha256::digest([iv, &(index as u64).to_be_bytes()].concat());
        let nonce = Nonce::try_from(&chunk_iv[..12]).unwrap();
        let mark = if is_last { text.len() as u32 + 32 } else { u32::MAX };
        file.extend(mark.to_be_bytes());
        file.extend(nonce);
        file.extend(cipher.encrypt(&nonce, Payload { msg: text, aad: &aad }).unwrap());
    }
    file
}

fn prefix_of(key: &KeyFile, kind: u8) -> [u8; 64] {
    let bytes = [b"RECSEAL\x01", &key.recording[..], &key.key_id, &[kind], &[0; 23]].concat();
    bytes.try_into().unwrap()
}

fn cipher(
    key: &KeyFile,
    context: &[u8],
    prefix: &[u8],
    index: usize,
    is_last: bool,
) -> (Aes256Gcm, Vec<u8>) {
    let index = index as u64;
    let first = (index >> 20 << 20).to_be_bytes();
    let message_key = expand(&key.key, &[context, b"MESSAGE_KEY:", prefix]);
    let chunk_key = expand(&message_key, &[context, b"DEK:", &first, prefix]);
    let aad = [&index.to_be_bytes()[..], &[u8::from(is_last)]].concat();
    (Aes256Gcm::new_from_slice(&chunk_key[..32]).unwrap(), aad)
}

/// One block of HKDF-Expand-SHA-384.
fn expand(key: &[u8], info: &[&[u8]]) -> Vec<u8> {
    let mut mac = <Hmac<Sha384> as hmac::KeyInit>::new_from_slice(key).unwrap();
    for part in info {
        mac.update(part);
    }
    mac.update(&[1]);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) mod hex {
    pub(crate) fn encode(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn decode(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
}

const PARAMETERS: [u8; 10] = [0, 0, 0, 1, 0, 0, 0, 0, 0, 32];
pub(crate) const CHUNK: usize = 65_536;
pub(crate) const TEXT: usize = 65_504;
