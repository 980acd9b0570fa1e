//! XML, read strictly and a piece at a time: the root, then one tree for each of its children.
//!
//! No entity is expanded but the five that XML has of itself, and a document type ends the
//! reading, so nothing grows and nothing is fetched. Memory is bounded by the largest child.

use std::collections::HashSet;
use std::rc::Rc;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, ResolveResult};
use quick_xml::reader::NsReader;

use super::fault::{FaultKind, Page, SidecarFault};
use super::json::TEXT_BYTES_MAX;

/// One element with all that is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Element {
    /// The name without prefix.
    pub(super) name: String,
    /// The namespace; empty for none.
    pub(super) space: Rc<str>,
    /// Attributes by their name as written, declarations of namespaces left out.
    pub(super) attributes: Vec<(String, String)>,
    /// All text that stands directly in it.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
    /// Where its tag begins.
    pub(super) at: usize,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let value = self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// The first child of that name in this element's namespace.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name && child.space == self.space)
    }

    /// Its text without blanks around; `None` if there is none.
    pub(super) fn words(&self) -> Option<&str> {
        Some(self.text.trim()).filter(|text| !text.is_empty())
    }

    /// The text of the child `name`.
    pub(super) fn words_of(&self, name: &str) -> Option<&str> {
        self.child(name)?.words()
    }
}

/// Reads `page` and hands every child of the root to `see`, with the root as far as it is known.
/// Gives back the root without children.
///
/// # Errors
///
/// `Syntax`, `Doctype`, `Entity`, `Namespace`, `DuplicateKey`, `Encoding`, `Character`,
/// `TooDeep`, `TooMany`, `TooLong`, or what `see` said.
pub(super) fn each_child<'p>(
    page: &Page<'p>,
    mut see: impl FnMut(&Element, Element) -> Result<(), SidecarFault>,
) -> Result<Element, SidecarFault> {
    let mut reader = NsReader::from_str(page.text());
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.check_end_names = true;
    reader.resolver_mut().set_max_namespace_bindings(BINDINGS_MAX);
    let mut walk = Walk {
        page,
        open: Vec::new(),
        root: None,
        elements: 0,
        child_elements: 0,
        spaces: HashSet::new(),
    };
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let event = reader.read_event().map_err(|error| {
            let at = usize::try_from(reader.error_position()).unwrap_or(at);
            page.fault(kind_of(&error), at)
        })?;
        match event {
            Event::Start(tag) => walk.open(&tag, reader.resolver(), at)?,
            Event::End(_) => {
                if let Some(child) = walk.close() {
                    let root = walk.open.first().expect("a child closes inside the root");
                    see(root, child)?;
                }
            }
            Event::Text(text) => walk.text(&text.xml10_content(), at)?,
            Event::CData(text) => walk.text(&text, at)?,
            Event::GeneralRef(name) => {
                let text = resolve(&name).map_err(|kind| page.fault(kind, at))?;
                walk.text(text.encode_utf8(&mut [0; 4]), at)?;
            }
            Event::Decl(declaration) => {
                let named = declaration.encoding().transpose();
                let named = named.map_err(|_| page.fault(FaultKind::Syntax, at))?;
                if !named.is_none_or(|name| is_utf_8(&name)) {
                    return Err(page.fault(FaultKind::Encoding, at));
                }
            }
            Event::DocType(_) => return Err(page.fault(FaultKind::Doctype, at)),
            Event::Comment(_) | Event::PI(_) => {}
            // Expanded above.
            Event::Empty(_) => return Err(page.fault(FaultKind::Syntax, at)),
            Event::Eof => break,
        }
    }
    match walk.root {
        Some(root) if walk.open.is_empty() => Ok(root),
        Some(_) | None => Err(page.fault(FaultKind::Syntax, page.text().len())),
    }
}

/// What is open while a page is read.
struct Walk<'p, 'a> {
    page: &'p Page<'a>,
    /// From the root down.
    open: Vec<Element>,
    /// Set once the root is closed.
    root: Option<Element>,
    /// In the whole page, and in the child of the root that is open.
    elements: usize,
    child_elements: usize,
    /// A namespace is long, and most elements have the same.
    spaces: HashSet<Rc<str>>,
}

impl Walk<'_, '_> {
    fn open(
        &mut self,
        tag: &BytesStart<'_>,
        resolver: &NamespaceResolver,
        at: usize,
    ) -> Result<(), SidecarFault> {
        let fault = |kind| self.page.fault(kind, at);
        if self.root.is_some() {
            return Err(fault(FaultKind::Syntax));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(fault(FaultKind::TooDeep));
        }
        self.elements += 1;
        self.child_elements = if self.open.len() > 1 { self.child_elements + 1 } else { 0 };
        if self.elements > ELEMENTS_MAX || self.child_elements > CHILD_ELEMENTS_MAX {
            return Err(fault(FaultKind::TooMany));
        }
        let (space, name) = resolver.resolve_element(tag.name());
        let space = match space {
            ResolveResult::Bound(space) => space.into_inner(),
            ResolveResult::Unbound => "",
            ResolveResult::Unknown(_) => return Err(fault(FaultKind::Namespace)),
        };
        if space.len() > SPACE_BYTES_MAX || name.as_ref().len() > NAME_BYTES_MAX {
            return Err(fault(FaultKind::TooLong));
        }
        let attributes = self.attributes(tag, resolver, at)?;
        let space = match self.spaces.get(space) {
            Some(space) => Rc::clone(space),
            None => {
                let space: Rc<str> = space.into();
                self.spaces.insert(Rc::clone(&space));
                space
            }
        };
        let name = name.into_inner().to_owned();
        self.open.push(Element { name, space, attributes, at, ..Element::default() });
        Ok(())
    }

    fn attributes(
        &self,
        tag: &BytesStart<'_>,
        resolver: &NamespaceResolver,
        at: usize,
    ) -> Result<Vec<(String, String)>, SidecarFault> {
        let fault = |kind| self.page.fault(kind, at);
        let mut attributes = Vec::new();
        // The parser compares each name with all before it: cheap, as they are counted first.
        if tag.attributes().with_checks(false).nth(ATTRIBUTES_MAX).is_some() {
            return Err(fault(FaultKind::TooMany));
        }
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|error| fault(kind_of(&error.into())))?;
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            if matches!(resolver.resolve_attribute(attribute.key).0, ResolveResult::Unknown(_)) {
                return Err(fault(FaultKind::Namespace));
            }
            let value = attribute
                .normalized_value(quick_xml::XmlVersion::Explicit1_0)
                .map_err(|error| fault(kind_of(&error)))?;
            self.check(value.len(), &value, at)?;
            attributes.push((attribute.key.into_inner().to_owned(), value.into_owned()));
        }
        Ok(attributes)
    }

    fn text(&mut self, text: &str, at: usize) -> Result<(), SidecarFault> {
        let Some(element) = self.open.last() else {
            // Blanks around the root are all that may stand there.
            let is_blank = text.trim_start_matches('\u{feff}').trim().is_empty();
            return if is_blank { Ok(()) } else { Err(self.page.fault(FaultKind::Syntax, at)) };
        };
        self.check(element.text.len() + text.len(), text, at)?;
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
        Ok(())
    }

    fn check(&self, len: usize, text: &str, at: usize) -> Result<(), SidecarFault> {
        if len > TEXT_BYTES_MAX {
            return Err(self.page.fault(FaultKind::TooLong, at));
        }
        // What XML 1.0 does not let in, not even as a reference.
        let is_foreign = |c: char| {
            (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        match text.contains(is_foreign) {
            true => Err(self.page.fault(FaultKind::Character, at)),
            false => Ok(()),
        }
    }

    /// Closes the innermost element. Gives it back if it was a child of the root.
    fn close(&mut self) -> Option<Element> {
        let element = self.open.pop()?;
        match self.open.len() {
            0 => self.root = Some(element),
            1 => return Some(element),
            _ => self.open.last_mut()?.children.push(element),
        }
        None
    }
}

fn resolve(name: &BytesRef<'_>) -> Result<char, FaultKind> {
    if name.is_char_ref() {
        let char = name.resolve_char_ref().map_err(|_| FaultKind::Entity)?;
        return char.filter(|c| *c != '\0').ok_or(FaultKind::Character);
    }
    let text = resolve_predefined_entity(name).ok_or(FaultKind::Entity)?;
    text.chars().next().ok_or(FaultKind::Entity)
}

/// Our code for what the parser says.
fn kind_of(error: &quick_xml::Error) -> FaultKind {
    use quick_xml::Error as E;
    use quick_xml::events::attributes::AttrError;
    use quick_xml::name::NamespaceError;
    match error {
        E::InvalidAttr(AttrError::Duplicated(_, _)) => FaultKind::DuplicateKey,
        E::Escape(_) => FaultKind::Entity,
        E::Namespace(NamespaceError::TooManyBindings(_) | NamespaceError::TooDeeplyNested(_)) => {
            FaultKind::TooMany
        }
        E::Namespace(_) => FaultKind::Namespace,
        E::Encoding(_) => FaultKind::Encoding,
        E::Io(_) | E::Syntax(_) | E::IllFormed(_) | E::InvalidAttr(_) => FaultKind::Syntax,
    }
}

fn is_utf_8(name: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

const DEPTH_MAX: usize = 64;
const ELEMENTS_MAX: usize = 1_000_000;
/// Of one child of the root, which is held in memory as a whole.
const CHILD_ELEMENTS_MAX: usize = 20_000;
const SPACE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 1_024;
const ATTRIBUTES_MAX: usize = 64;
const BINDINGS_MAX: usize = 64;
