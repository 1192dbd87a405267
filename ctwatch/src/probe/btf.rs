//! A reader for the kernel's own description of its types (BTF), as far as offsets need it.
//!
//! The format is that of Documentation/bpf/btf.rst. Bytes are parsed with bounds checks; what does not
//! parse is an error, never a panic.

mod prototype;

use std::{fs, io, path::Path, sync::Arc};

/// Why a type or member could not be found.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}; the kernel must be built with {needs}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
        /// The kernel's option for it.
        needs: &'static str,
    },
    /// The bytes are no BTF, or broken.
    #[error("the BTF of this kernel is broken at {0}")]
    Malformed(&'static str),
    /// There is no such struct.
    #[error("this kernel's BTF has no struct {0}")]
    NoStruct(String),
    /// The struct has no such member.
    #[error("in this kernel struct {0} has no member {1}")]
    NoMember(String, String),
}

/// The types of the kernel, or of a module on top of the kernel's.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Where each type begins in `data`.
    types: Vec<usize>,
    strings: std::ops::Range<usize>,
    /// What this one goes on from: its types are numbered on from the base's last, and the places of its names
    /// go on from the end of the base's (Documentation/bpf/btf.rst, "split BTF").
    base: Option<Arc<Btf>>,
}

/// A type's place among the types; 0 is `void`.
pub type TypeId = u32;

/// A function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// What bpf(2) knows it by.
    pub id: TypeId,
    /// How many parameters it has.
    pub parameters: usize,
}

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_TYPE_TAG: u32 = 18;
const KIND_ENUM64: u32 = 19;

/// `struct btf_type` without what follows it.
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

struct Type<'btf> {
    /// The bytes that `rest` is a place in.
    data: &'btf [u8],
    name: usize,
    kind: u32,
    has_bit_fields: bool,
    members: usize,
    size_or_type: u32,
    rest: usize,
}

impl Btf {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    ///
    /// If the kernel has no BTF, or it cannot be read or parsed.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(read("vmlinux", "CONFIG_DEBUG_INFO_BTF")?)
    }

    /// Reads the types of a module, which go on from the `kernel`'s.
    ///
    /// # Errors
    ///
    /// If the module is built into the kernel or not loaded, the kernel has no BTF for modules (it came with
    /// Linux 5.11), or it cannot be read or parsed.
    pub fn of_module(module: &str, kernel: Arc<Self>) -> Result<Self, BtfError> {
        let needs = "CONFIG_DEBUG_INFO_BTF_MODULES, which came with Linux 5.11";
        Self::parse_split(read(module, needs)?, Some(kernel))
    }

    /// Parses the bytes of a BTF that stands alone.
    ///
    /// # Errors
    ///
    /// If they are none.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        Self::parse_split(data, None)
    }

    fn parse_split(data: Vec<u8>, base: Option<Arc<Self>>) -> Result<Self, BtfError> {
        let word = |at| read_u32(&data, at).ok_or(BtfError::Malformed("its header"));
        if word(0)? & 0xffff != 0xeb9f {
            return Err(BtfError::Malformed("its magic number"));
        }
        let header = word(4)? as usize;
        let section = |start: u32, length: u32| {
            let start = header.checked_add(start as usize)?;
            let range = start..start.checked_add(length as usize)?;
            data.get(range.clone()).map(|_| range)
        };
        let type_section = section(word(8)?, word(12)?).ok_or(BtfError::Malformed("its types"))?;
        let strings = section(word(16)?, word(20)?).ok_or(BtfError::Malformed("its strings"))?;
        let mut types = Vec::new();
        let mut at = type_section.start;
        while at < type_section.end {
            types.push(at);
            let one = parse_type(&data, at).ok_or(BtfError::Malformed("a type"))?;
            at = one.rest + rest_bytes(&one);
        }
        Ok(Self { data, types, strings, base })
    }

    /// The offset in bytes of a member of a struct, or of a member of a member.
    ///
    /// # Errors
    ///
    /// If there is no such struct or member, or it is a bit field.
    pub fn offset_of(&self, structure: &str, path: &[&str]) -> Result<u32, BtfError> {
        let no_member = || BtfError::NoMember(structure.to_owned(), path.join("."));
        let mut current =
            self.struct_named(structure).ok_or_else(|| BtfError::NoStruct(structure.to_owned()))?;
        let mut bits = 0;
        for name in path {
            let (member, offset_bits) = self.member(current, name).ok_or_else(no_member)?;
            bits += offset_bits;
            current = member;
        }
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(no_member()) }
    }

    /// A function by its name.
    pub fn function(&self, name: &str) -> Option<Function> {
        let (id, function) = self.named(KIND_FUNC, name)?;
        let prototype = self.type_of(function.size_or_type)?;
        (prototype.kind == KIND_FUNC_PROTO)
            .then_some(Function { id, parameters: prototype.members })
    }

    /// The value of one of an enum's names; `None` if no enum has it.
    pub fn enum_value(&self, enumeration: &str, name: &str) -> Option<u32> {
        let (_, one) = self.named(KIND_ENUM, enumeration)?;
        (0..one.members).map(|index| one.rest + index * 8).find_map(|at| {
            let member_name = read_u32(one.data, at)? as usize;
            (self.name(member_name) == name.as_bytes())
                .then(|| read_u32(one.data, at + 4))
                .flatten()
        })
    }

    fn struct_named(&self, name: &str) -> Option<TypeId> {
        self.named(KIND_STRUCT, name).map(|(id, _)| id)
    }

    /// A type by its kind and name: this one's own before the base's.
    fn named(&self, kind: u32, name: &str) -> Option<(TypeId, Type<'_>)> {
        let own = self.types.iter().zip(self.base_types() + 1..).find_map(|(at, id)| {
            let one = parse_type(&self.data, *at)?;
            (one.kind == kind && self.name(one.name) == name.as_bytes()).then_some((id, one))
        });
        own.or_else(|| self.base.as_ref()?.named(kind, name))
    }

    /// A member's type and its offset in bits, also where it is in a struct or union without a name.
    fn member(&self, structure: TypeId, name: &str) -> Option<(TypeId, u32)> {
        let structure = self.resolve(structure)?;
        if !matches!(structure.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..structure.members).map(|index| structure.rest + index * MEMBER_BYTES).find_map(|at| {
            let member_name = self.name(read_u32(structure.data, at)? as usize);
            let member = read_u32(structure.data, at + 4)?;
            let offset = read_u32(structure.data, at + 8)?;
            let offset_bits = if structure.has_bit_fields { offset & 0x00ff_ffff } else { offset };
            if member_name == name.as_bytes() {
                Some((member, offset_bits))
            } else if member_name.is_empty() {
                self.member(member, name)
                    .map(|(found, inner_bits)| (found, offset_bits + inner_bits))
            } else {
                None
            }
        })
    }

    /// The struct behind names and qualifiers, or the element of an array.
    fn resolve(&self, id: TypeId) -> Option<Type<'_>> {
        let mut one = self.type_of(id)?;
        // No real chain is as long as this; a circle in broken bytes ends here.
        for _ in 0..32 {
            one = match one.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    self.type_of(one.size_or_type)?
                }
                KIND_ARRAY => self.type_of(read_u32(one.data, one.rest)?)?,
                _ => return Some(one),
            };
        }
        None
    }

    fn type_of(&self, id: TypeId) -> Option<Type<'_>> {
        let Some(own) = id.checked_sub(self.base_types() + 1) else {
            return self.base.as_ref()?.type_of(id);
        };
        parse_type(&self.data, *self.types.get(usize::try_from(own).ok()?)?)
    }

    /// The last type of the base; 0 without one.
    fn base_types(&self) -> TypeId {
        self.base.as_ref().map_or(0, |base| {
            base.base_types().saturating_add(u32::try_from(base.types.len()).unwrap_or(u32::MAX))
        })
    }

    /// How many bytes of names this one and its base have.
    fn string_bytes(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.string_bytes()) + self.strings.len()
    }

    fn name(&self, offset: usize) -> &[u8] {
        let base_bytes = self.base.as_ref().map_or(0, |base| base.string_bytes());
        let Some(own) = offset.checked_sub(base_bytes) else {
            return self.base.as_ref().map_or(&[], |base| base.name(offset));
        };
        let strings = self.data.get(self.strings.clone()).unwrap_or_default();
        let from = strings.get(own..).unwrap_or_default();
        from.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

fn read(name: &str, needs: &'static str) -> Result<Vec<u8>, BtfError> {
    let path = Path::new("/sys/kernel/btf").join(name);
    let path_text = path.display().to_string();
    fs::read(path).map_err(|source| BtfError::Read { path: path_text, source, needs })
}

fn parse_type(data: &[u8], at: usize) -> Option<Type<'_>> {
    let info = read_u32(data, at + 4)?;
    Some(Type {
        data,
        name: read_u32(data, at)? as usize,
        kind: (info >> 24) & 0x1f,
        has_bit_fields: info >> 31 == 1,
        members: (info & 0xffff) as usize,
        size_or_type: read_u32(data, at + 8)?,
        rest: at + TYPE_BYTES,
    })
}

/// How many bytes follow a type's common part.
fn rest_bytes(one: &Type<'_>) -> usize {
    match one.kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => one.members * 12,
        KIND_ENUM | KIND_FUNC_PROTO => one.members * 8,
        _ => 0,
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE_STRINGS: &[u8] = b"\0int\0outer\0a\0b\0c\0d\0inner\0x\0colour\0red\0green\0";

    /// A BTF with `struct outer { int a; struct { short b; union { int c; }; }; struct inner d[2]; }`.
    fn sample() -> Vec<u8> {
        let strings = SAMPLE_STRINGS;
        let place = |name: &str| {
            let needle = [&[0], name.as_bytes(), &[0]].concat();
            u32::try_from(strings.windows(needle.len()).position(|w| w == needle).unwrap() + 1)
                .unwrap()
        };
        let mut types: Vec<u32> = Vec::new();
        types.extend([place("int"), KIND_INT << 24, 4, 32]); // 1
        types.extend([place("inner"), (KIND_STRUCT << 24) | 1, 8, place("x"), 1, 32]); // 2
        types.extend([0, KIND_ARRAY << 24, 0, 2, 1, 2]); // 3: inner[2]
        types.extend([0, (KIND_UNION << 24) | 1, 4, place("c"), 1, 0]); // 4
        types.extend([0, (KIND_STRUCT << 24) | 2, 8, place("b"), 1, 0, 0, 4, 32]); // 5
        types.extend([0, KIND_CONST << 24, 3]); // 6
        types.extend([
            place("outer"),
            (KIND_STRUCT << 24) | 3,
            28,
            place("a"),
            1,
            0,
            0,
            5,
            32,
            place("d"),
            6,
            96,
        ]);
        types.extend([
            place("colour"),
            (KIND_ENUM << 24) | 2,
            4,
            place("red"),
            3,
            place("green"),
            9,
        ]);
        assemble(&types, strings)
    }

    /// What a module adds to it: `struct module_only { struct outer e; }` and two functions, of which the name
    /// of one, `inner`, is in the base.
    fn sample_module() -> Vec<u8> {
        let base = Btf::parse(sample()).unwrap();
        let (types, names) = (base.types.len(), base.strings.len());
        let id = |own: usize| u32::try_from(types + own).unwrap();
        let strings = b"early_drop\0module_only\0e\0";
        let place = |name: &str| {
            let own = strings.windows(name.len()).position(|w| w == name.as_bytes()).unwrap();
            u32::try_from(names + own).unwrap()
        };
        let inner = SAMPLE_STRINGS.windows(6).position(|w| w == b"inner\0").unwrap();
        let inner = u32::try_from(inner).unwrap();
        let mut types: Vec<u32> = vec![0, (KIND_FUNC_PROTO << 24) | 2, 1, 0, 1, 0, 1]; // own 1
        types.extend([place("early_drop"), KIND_FUNC << 24, id(1)]); // own 2
        types.extend([inner, KIND_FUNC << 24, id(1)]); // own 3
        types.extend([place("module_only"), (KIND_STRUCT << 24) | 1, 28, place("e\0"), 7, 0]); // own 4
        assemble(&types, strings)
    }

    fn assemble(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let lengths = (u32::try_from(types.len()).unwrap(), u32::try_from(strings.len()).unwrap());
        let header = [0x0001_eb9f, 24, 0, lengths.0, lengths.0, lengths.1];
        let mut data: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn members_are_found_through_arrays_qualifiers_and_what_has_no_name() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset_of("outer", &["a"]).unwrap(), 0);
        assert_eq!(btf.offset_of("outer", &["c"]).unwrap(), 8);
        assert_eq!(btf.offset_of("outer", &["d", "x"]).unwrap(), 16);
        assert!(matches!(btf.offset_of("outer", &["e"]), Err(BtfError::NoMember(..))));
        assert!(matches!(btf.offset_of("none", &["a"]), Err(BtfError::NoStruct(_))));
    }

    #[test]
    fn enum_values_are_found_by_name() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.enum_value("colour", "green"), Some(9));
        assert_eq!(btf.enum_value("colour", "blue"), None);
    }

    #[test]
    fn a_module_goes_on_from_the_kernel() {
        let kernel = Arc::new(Btf::parse(sample()).unwrap());
        let types = u32::try_from(kernel.types.len()).unwrap();
        let module = Btf::parse_split(sample_module(), Some(Arc::clone(&kernel))).unwrap();
        let function = |own| Some(Function { id: types + own, parameters: 2 });
        assert_eq!(module.function("early_drop"), function(2));
        // Its name lies in the kernel's strings, where a struct has the same.
        assert_eq!(module.function("inner"), function(3));
        assert_eq!(module.function("module_only"), None);
        assert_eq!(kernel.function("inner"), None);
        assert_eq!(module.offset_of("outer", &["c"]).unwrap(), 8);
        assert_eq!(module.offset_of("module_only", &["e", "d", "x"]).unwrap(), 16);
        assert_eq!(module.enum_value("colour", "green"), Some(9));
        assert_eq!(module.prototype("early_drop").as_deref(), Some("int early_drop(int, int)"));
        assert_eq!(module.prototype("outer"), None);
    }

    proptest! {
        #[test]
        fn broken_bytes_of_a_module_are_an_answer(cut in 0_usize..200, flip in 0_usize..200, value: u8) {
            let mut data = sample_module();
            if let Some(byte) = data.get_mut(flip) {
                *byte = value;
            }
            data.truncate(cut.max(1));
            let kernel = Arc::new(Btf::parse(sample()).unwrap());
            if let Ok(btf) = Btf::parse_split(data, Some(kernel)) {
                let _ = btf.function("early_drop");
                let _ = btf.function("inner");
                let _ = btf.prototype("early_drop");
                let _ = btf.offset_of("module_only", &["e", "d", "x"]);
            }
        }

        #[test]
        fn broken_bytes_are_an_answer(cut in 0_usize..400, flip in 0_usize..400, value: u8) {
            let mut data = sample();
            if let Some(byte) = data.get_mut(flip) {
                *byte = value;
            }
            data.truncate(cut.max(1));
            if let Ok(btf) = Btf::parse(data) {
                let _ = btf.offset_of("outer", &["d", "x"]);
                let _ = btf.enum_value("colour", "green");
            }
        }
    }
}
