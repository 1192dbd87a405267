//! A function of the kernel as C declares it, so that what the hooks expect can be compared with what a kernel has.
//!
//! It only writes down what BTF says, and judges nothing.

use super::{
    Btf, KIND_ARRAY, KIND_CONST, KIND_ENUM, KIND_ENUM64, KIND_FUNC, KIND_FUNC_PROTO, KIND_FWD,
    KIND_PTR, KIND_RESTRICT, KIND_STRUCT, KIND_TYPE_TAG, KIND_TYPEDEF, KIND_UNION, KIND_VOLATILE,
    Type, TypeId, read_u32,
};

/// No real declaration is nested as deep as this; a circle in broken bytes ends here.
const DEPTH_MAX: u32 = 32;
const PARAMETER_BYTES: usize = 8;

impl Btf {
    /// A function's declaration, as in `void nf_conntrack_free(struct nf_conn *ct)`; `None` if there is no such
    /// function.
    pub fn prototype(&self, function: &str) -> Option<String> {
        let (_, found) = self.named(KIND_FUNC, function)?;
        self.declare(found.size_or_type, function.to_owned(), DEPTH_MAX)
    }

    /// What a program on a tracepoint is called with (`btf_trace_NAME`, include/trace/bpf_probe.h), without the
    /// names of parameters, which are not kept; `None` if there is no such tracepoint.
    pub fn tracepoint_prototype(&self, tracepoint: &str) -> Option<String> {
        let (_, found) = self.named(KIND_TYPEDEF, &format!("btf_trace_{tracepoint}"))?;
        let pointer = self.type_of(found.size_or_type).filter(|one| one.kind == KIND_PTR)?;
        self.declare(pointer.size_or_type, tracepoint.to_owned(), DEPTH_MAX)
    }

    /// `declarator` with the type of this number: what stands before and behind it in C.
    fn declare(&self, id: TypeId, declarator: String, depth: u32) -> Option<String> {
        let deeper = depth.checked_sub(1)?;
        let before = |words: &str| match declarator.as_str() {
            "" => words.to_owned(),
            declarator => format!("{words} {declarator}"),
        };
        if id == 0 {
            return Some(before("void"));
        }
        let one = self.type_of(id)?;
        let target = one.size_or_type;
        let target_kind = self.type_of(target).map(|target| target.kind);
        let name = || String::from_utf8_lossy(self.name(one.name)).into_owned();
        match one.kind {
            KIND_PTR => {
                let pointer = format!("*{declarator}");
                let grouped = matches!(target_kind, Some(KIND_FUNC_PROTO | KIND_ARRAY));
                let pointer = if grouped { format!("({pointer})") } else { pointer };
                self.declare(target, pointer, deeper)
            }
            KIND_CONST | KIND_VOLATILE | KIND_RESTRICT => {
                let qualifier = match one.kind {
                    KIND_CONST => "const",
                    KIND_VOLATILE => "volatile",
                    _ => "restrict",
                };
                match target_kind {
                    Some(KIND_PTR) => self.declare(target, before(qualifier), deeper),
                    _ => Some(format!("{qualifier} {}", self.declare(target, declarator, deeper)?)),
                }
            }
            KIND_TYPE_TAG => self.declare(target, declarator, deeper),
            KIND_ARRAY => {
                let element = read_u32(one.data, one.rest)?;
                let elements = read_u32(one.data, one.rest + 8)?;
                self.declare(element, format!("{declarator}[{elements}]"), deeper)
            }
            KIND_FUNC_PROTO => {
                let parameters = self.parameters(&one, deeper)?;
                self.declare(target, format!("{declarator}({parameters})"), deeper)
            }
            KIND_STRUCT => Some(before(&format!("struct {}", name()))),
            KIND_UNION => Some(before(&format!("union {}", name()))),
            KIND_ENUM | KIND_ENUM64 => Some(before(&format!("enum {}", name()))),
            KIND_FWD => {
                let word = if one.has_bit_fields { "union" } else { "struct" };
                Some(before(&format!("{word} {}", name())))
            }
            _ => Some(before(&name())),
        }
    }

    fn parameters(&self, prototype: &Type<'_>, depth: u32) -> Option<String> {
        let parameter = |index: usize| {
            let at = prototype.rest + index * PARAMETER_BYTES;
            let name = self.name(read_u32(prototype.data, at)? as usize);
            let id = read_u32(prototype.data, at + 4)?;
            if id == 0 {
                return Some("...".to_owned());
            }
            self.declare(id, String::from_utf8_lossy(name).into_owned(), depth)
        };
        let parameters: Option<Vec<String>> = (0..prototype.members).map(parameter).collect();
        Some(parameters?.join(", "))
    }
}
