//! What the user wrote, in the form that both derives want.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Data, DeriveInput, Error, Fields, GenericArgument, GenericParam, Generics, Ident,
    LitInt, Member, Path, PathArguments, Result, Type, Visibility, ext::IdentExt, parse_quote,
    spanned::Spanned,
};

use crate::paths;

/// A struct or an enum with the options of `#[record(..)]`.
pub struct Input {
    pub ident: Ident,
    pub visibility: Visibility,
    /// The name of the view.
    pub view: Ident,
    /// Type parameters without defaults, bound by `Record`.
    pub generics: Generics,
    /// A struct is one variant; its ident is the struct's.
    pub variants: Vec<Variant>,
    pub is_enum: bool,
    pub krate: Path,
    pub version: u32,
    pub from: Option<Type>,
}

pub struct Variant {
    pub ident: Ident,
    pub fields: Vec<Field>,
    pub style: Style,
    pub docs: Vec<Attribute>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Named,
    Tuple,
    Unit,
}

pub struct Field {
    pub member: Member,
    /// What its value is called in generated code.
    pub binding: Ident,
    pub ty: Type,
    pub visibility: Visibility,
    pub docs: Vec<Attribute>,
}

impl Field {
    /// `<Type as Record>::member`.
    pub fn record(&self, krate: &Path, member: &str) -> TokenStream {
        self.path(krate, "Record", member)
    }

    /// A path through a trait, all of it at the place of the type: there the compiler then says
    /// what is wrong with it, and not at the derive.
    fn path(&self, krate: &Path, name: &str, member: &str) -> TokenStream {
        let (ty, span) = (&self.ty, self.ty.span());
        let (name, member) = (Ident::new(name, span), Ident::new(member, span));
        let krate: TokenStream = krate
            .to_token_stream()
            .into_iter()
            .map(|mut token| {
                token.set_span(span);
                token
            })
            .collect();
        quote_spanned!(span=> <#ty as #krate::#name>::#member)
    }

    /// Its name in the schema.
    pub fn name(&self) -> String {
        match &self.member {
            Member::Named(ident) => ident.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }
}

impl Input {
    pub fn parse(input: DeriveInput) -> Result<Self> {
        let mut options = Options::default();
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident("record")) {
            options.parse(attribute)?;
        }
        let krate = options.krate.unwrap_or_else(paths::record_crate);
        let generics = bound(input.generics, &krate)?;
        let (is_enum, variants) = match input.data {
            Data::Struct(data) => {
                let docs = Vec::new();
                (false, vec![Variant::new(input.ident.clone(), docs, data.fields)?])
            }
            Data::Enum(data) => {
                if data.variants.is_empty() {
                    return Err(Error::new(
                        input.ident.span(),
                        "an enum without variants has no values, so it cannot be a record",
                    ));
                }
                if data.variants.len() > 256 {
                    return Err(Error::new(
                        input.ident.span(),
                        "a record has at most 256 variants: nest two enums",
                    ));
                }
                let variants = data
                    .variants
                    .into_iter()
                    .map(|v| Variant::new(v.ident, docs(&v.attrs), v.fields))
                    .collect::<Result<_>>()?;
                (true, variants)
            }
            Data::Union(data) => {
                return Err(Error::new(
                    data.union_token.span(),
                    "a union does not know what it holds, so it cannot be a record: use an enum",
                ));
            }
        };
        Ok(Self {
            view: options.view.unwrap_or_else(|| format_ident!("{}View", input.ident.unraw())),
            ident: input.ident,
            visibility: input.vis,
            generics,
            variants,
            is_enum,
            krate,
            version: options.version.unwrap_or(1),
            from: options.from,
        })
    }

    /// All fields of all variants.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.variants.iter().flat_map(|variant| &variant.fields)
    }

    /// The generics of the view: a lifetime in front, if there is anything to borrow from.
    pub fn view_generics(&self) -> Generics {
        let mut generics = self.generics.clone();
        if self.fields().next().is_some() {
            generics.params.insert(0, parse_quote!('a));
        }
        generics
    }

    /// The view's type with some lifetime, where it has one.
    pub fn view_type(&self, lifetime: &TokenStream) -> TokenStream {
        let Self { view, .. } = self;
        let arguments = self.generics.params.iter().map(argument);
        if self.fields().next().is_some() {
            quote!(#view<#lifetime, #(#arguments),*>)
        } else {
            quote!(#view<#(#arguments),*>)
        }
    }

    /// `Type` or `Type::Variant`, for patterns and constructors.
    pub fn path(&self, of: &impl ToTokens, variant: &Variant) -> TokenStream {
        let ident = &variant.ident;
        if self.is_enum { quote!(#of::#ident) } else { of.to_token_stream() }
    }
}

impl Variant {
    fn new(ident: Ident, docs: Vec<Attribute>, fields: Fields) -> Result<Self> {
        let style = match &fields {
            Fields::Named(_) => Style::Named,
            Fields::Unnamed(_) => Style::Tuple,
            Fields::Unit => Style::Unit,
        };
        let fields = fields
            .into_iter()
            .enumerate()
            .map(|(index, field)| {
                refuse(&field.ty)?;
                Ok(Field {
                    docs: self::docs(&field.attrs),
                    member: field.ident.map_or_else(|| Member::from(index), Member::from),
                    binding: format_ident!("__f{index}", span = Span::mixed_site()),
                    ty: field.ty,
                    visibility: field.vis,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { ident, fields, style, docs })
    }

    pub fn members(&self) -> Vec<&Member> {
        self.fields.iter().map(|field| &field.member).collect()
    }

    pub fn bindings(&self) -> Vec<&Ident> {
        self.fields.iter().map(|field| &field.binding).collect()
    }

    /// `<Type as Record>::member` of each field.
    pub fn records(&self, krate: &Path, member: &str) -> Vec<TokenStream> {
        self.fields.iter().map(|field| field.record(krate, member)).collect()
    }

    /// `<Type as Key>::member` of each field.
    pub fn keys(&self, krate: &Path, member: &str) -> Vec<TokenStream> {
        self.fields.iter().map(|field| field.path(krate, "Key", member)).collect()
    }
}

#[derive(Default)]
struct Options {
    version: Option<u32>,
    from: Option<Type>,
    view: Option<Ident>,
    krate: Option<Path>,
}

impl Options {
    fn parse(&mut self, attribute: &Attribute) -> Result<()> {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("version") {
                let version: LitInt = meta.value()?.parse()?;
                self.version = Some(version.base10_parse()?);
            } else if meta.path.is_ident("from") {
                self.from = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("view") {
                self.view = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                self.krate = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "unknown option: there are version = 2, from = OldType, view = Name, crate = path",
                ));
            }
            Ok(())
        })
    }
}

/// Binds type parameters by `Record`; refuses lifetimes.
fn bound(mut generics: Generics, krate: &Path) -> Result<Generics> {
    for parameter in &mut generics.params {
        match parameter {
            GenericParam::Type(parameter) => {
                parameter.bounds.push(parse_quote!(#krate::Record));
                parameter.eq_token = None;
                parameter.default = None;
            }
            GenericParam::Const(parameter) => {
                parameter.eq_token = None;
                parameter.default = None;
            }
            GenericParam::Lifetime(parameter) => {
                return Err(Error::new(
                    parameter.span(),
                    "a record owns its data: write `String` for `&str`, `Vec<T>` for `&[T]`",
                ));
            }
        }
    }
    Ok(generics)
}

/// Refuses by name what is no record in any program. The trait refuses it too, but says so once for
/// every line that was generated.
fn refuse(ty: &Type) -> Result<()> {
    let hint = match ty {
        Type::Reference(_) => {
            "a record owns its data: write `String` for `&str`, `Vec<T>` for `&[T]`"
        }
        Type::Path(path) => {
            let Some(segment) = path.path.segments.last() else { return Ok(()) };
            if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                for argument in &arguments.args {
                    if let GenericArgument::Type(ty) = argument {
                        refuse(ty)?;
                    }
                }
            }
            match segment.ident.to_string().as_str() {
                "usize" => "a record looks the same on every machine: write `u64` for `usize`",
                "isize" => "a record looks the same on every machine: write `i64` for `isize`",
                "HashMap" | "BTreeMap" => "a record has no maps: write `Vec<(K, V)>`",
                "HashSet" | "BTreeSet" => "a record has no sets: write `Vec<T>`",
                "Rc" | "Arc" => "a record shares nothing: write the type inside",
                _ => return Ok(()),
            }
        }
        _ => return Ok(()),
    };
    Err(Error::new(ty.span(), hint))
}

fn docs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter(|a| a.path().is_ident("doc")).cloned().collect()
}

fn argument(parameter: &GenericParam) -> &Ident {
    match parameter {
        GenericParam::Type(parameter) => &parameter.ident,
        GenericParam::Const(parameter) => &parameter.ident,
        GenericParam::Lifetime(parameter) => &parameter.lifetime.ident, // Refused by `bound`.
    }
}
