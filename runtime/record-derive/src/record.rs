//! `#[derive(Record)]`.
//!
//! The `unsafe` here is in what it writes, not in what it does: **the archived type has the layout that it declares
//! (`repr(C)`, or `repr(u8)` for an enum), its fields are archived types, and every place that is cast is a field of it.**

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, Type, spanned::Spanned};

use crate::input::{Field, Input, Style, Variant};

pub fn derive(input: &Input) -> TokenStream {
    let view = view(input);
    let archived = archived(input);
    let record = record(input);
    let version_check = version_check(input);
    quote! {
        #view
        #archived
        const _: () = { #record #version_check };
    }
}

// --- the view ------------------------------------------------------------------------------------

fn view(input: &Input) -> TokenStream {
    let Input { ident, visibility, view, krate, .. } = input;
    let std = quote!(#krate::__private::std);
    let generics = input.view_generics();
    let (impl_generics, arguments, wheres) = generics.split_for_impl();
    let (_, owned_arguments, _) = input.generics.split_for_impl();
    // If nothing else borrows, the first field says the lifetime by way of its trait.
    let mut borrows = input.fields().any(|field| !matches!(plain(&field.ty), Some(Plain::Same)));
    let mut field_type = |field: &Field| {
        let (plain, first) = (plain(&field.ty), !borrows);
        borrows = true;
        match plain {
            Some(Plain::Same) if !first => field.ty.to_token_stream(),
            Some(Plain::Text) => quote!(&'a #std::primitive::str),
            _ => {
                let view = field.record(krate, "View");
                quote_spanned!(field.ty.span()=> #view<'a>)
            }
        }
    };
    let doc = format!("The view of [`{ident}`].");
    let definition = definition(input, view, &doc, &quote!(), &generics, &mut field_type);
    let debug = input.variants.iter().map(|variant| {
        let (path, name) = (input.path(view, variant), variant.ident.to_string());
        let (members, bindings) = (variant.members(), variant.bindings());
        let (build, fields) = match variant.style {
            Style::Tuple => (quote!(debug_tuple), quote!(#(.field(#bindings))*)),
            _ => {
                let names = variant.fields.iter().map(|field| field.name());
                (quote!(debug_struct), quote!(#(.field(#names, #bindings))*))
            }
        };
        quote!(#path { #(#members: #bindings),* } => f.#build(#name)#fields.finish())
    });
    let equal = input.variants.iter().map(|variant| {
        let (path, members) = (input.path(view, variant), variant.members());
        let (left, right) = (bindings("l", variant), bindings("r", variant));
        quote! {
            (#path { #(#members: #left),* }, #path { #(#members: #right),* }) =>
                true #(&& *#left == *#right)*
        }
    });
    quote! {
        #definition

        #[automatically_derived]
        impl #impl_generics #std::marker::Copy for #view #arguments #wheres {}

        #[automatically_derived]
        impl #impl_generics #std::clone::Clone for #view #arguments #wheres {
            #[inline]
            fn clone(&self) -> Self {
                *self
            }
        }

        #[automatically_derived]
        impl #impl_generics #std::fmt::Debug for #view #arguments #wheres {
            fn fmt(&self, f: &mut #std::fmt::Formatter<'_>) -> #std::fmt::Result {
                match self { #(#debug,)* }
            }
        }

        #[automatically_derived]
        impl #impl_generics #std::cmp::PartialEq for #view #arguments #wheres {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                #[allow(unreachable_patterns)]
                match (self, other) { #(#equal,)* _ => false }
            }
        }

        #[automatically_derived]
        #[allow(dead_code)]
        impl #impl_generics #view #arguments #wheres {
            /// The owned record.
            #[inline]
            #visibility fn into_owned(self) -> #ident #owned_arguments {
                <#ident #owned_arguments as #krate::Record>::from_view(self)
            }
        }
    }
}

/// A field's type whose view is written as people know it. For the others the trait says it.
enum Plain {
    Same,
    Text,
}

fn plain(ty: &Type) -> Option<Plain> {
    let Type::Path(path) = ty else { return None };
    let ident = path.path.get_ident().filter(|_| path.qself.is_none())?.to_string();
    match ident.as_str() {
        "u8" | "u16" | "u32" | "u64" | "u128" | "i8" | "i16" | "i32" | "i64" | "i128" | "f32"
        | "f64" | "bool" | "char" => Some(Plain::Same),
        "String" => Some(Plain::Text),
        _ => None,
    }
}

// --- the archive ---------------------------------------------------------------------------------

fn archived(input: &Input) -> TokenStream {
    let Input { ident, krate, .. } = input;
    let archived = format_ident!("Archived{}", input.ident);
    let repr = if input.is_enum { quote!(u8) } else { quote!(C) };
    let attributes = quote! {
        #[derive(#krate::__private::bytecheck::CheckBytes)]
        #[bytecheck(crate = #krate::__private::bytecheck)]
        #[repr(#repr)]
    };
    let doc = format!("The archive of [`{ident}`], as it lies in a frame.");
    let mut field_type = |field: &Field| field.record(krate, "Archived");
    let definition =
        definition(input, &archived, &doc, &attributes, &input.generics, &mut field_type);
    let (impl_generics, arguments, wheres) = input.generics.split_for_impl();
    quote! {
        #definition

        // SAFETY: `repr(C)` or `repr(u8)`, and each field is the archive of a record.
        #[automatically_derived]
        unsafe impl #impl_generics #krate::__private::rkyv::Portable
            for #archived #arguments #wheres {}
    }
}

/// A struct or enum shaped as the input, with other types in its fields.
fn definition(
    input: &Input,
    name: &Ident,
    doc: &str,
    attributes: &TokenStream,
    generics: &syn::Generics,
    field_type: &mut impl FnMut(&Field) -> TokenStream,
) -> TokenStream {
    let visibility = &input.visibility;
    let wheres = &generics.where_clause;
    let mut body = |variant: &Variant| {
        let fields: Vec<_> = variant
            .fields
            .iter()
            .map(|field| {
                let (docs, visibility, ty) = (&field.docs, &field.visibility, field_type(field));
                match &field.member {
                    syn::Member::Named(name) => quote!(#(#docs)* #visibility #name: #ty),
                    syn::Member::Unnamed(_) => quote!(#(#docs)* #visibility #ty),
                }
            })
            .collect();
        match variant.style {
            Style::Named => quote!({ #(#fields),* }),
            Style::Tuple => quote!(( #(#fields),* )),
            Style::Unit => quote!(),
        }
    };
    let item = if input.is_enum {
        let variants = input.variants.iter().map(|variant| {
            let (docs, ident, body) = (&variant.docs, &variant.ident, body(variant));
            quote!(#(#docs)* #ident #body)
        });
        quote!(#visibility enum #name #generics #wheres { #(#variants),* })
    } else {
        let body = body(&input.variants[0]);
        match input.variants[0].style {
            Style::Named => quote!(#visibility struct #name #generics #wheres #body),
            Style::Tuple | Style::Unit => quote!(#visibility struct #name #generics #body #wheres;),
        }
    };
    quote! {
        #[doc = #doc]
        #[allow(missing_docs, dead_code, clippy::all)]
        #attributes
        #item
    }
}

// --- the trait -----------------------------------------------------------------------------------

fn record(input: &Input) -> TokenStream {
    let Input { ident, view, krate, version, .. } = input;
    let private = quote!(#krate::__private);
    let std = quote!(#private::std);
    let archived = format_ident!("Archived{}", input.ident);
    let (impl_generics, arguments, wheres) = input.generics.split_for_impl();
    let (view_a, view_any) = (input.view_type(&quote!('a)), input.view_type(&quote!('_)));
    let (view_l, view_s) = (input.view_type(&quote!('l)), input.view_type(&quote!('s)));

    let convert = |from: TokenStream, to: TokenStream, method: &str| {
        let arms: Vec<_> = input
            .variants
            .iter()
            .map(|variant| {
                let (from, to) = (input.path(&from, variant), input.path(&to, variant));
                let (members, bindings, records) =
                    (variant.members(), variant.bindings(), variant.records(krate, method));
                quote! {
                    #from { #(#members: #bindings),* } => #to {
                        #(#members: #records(#bindings)),*
                    }
                }
            })
            .collect();
        quote!(#(#arms,)*)
    };
    let (owned, viewed, stored) = (quote!(Self), quote!(#view), quote!(#archived));
    let view_arms = convert(owned.clone(), viewed.clone(), "view");
    let view_of_arms = convert(stored, viewed.clone(), "view_of");
    let from_view_arms = convert(viewed.clone(), owned, "from_view");
    let shrink_arms = convert(viewed.clone(), viewed, "shrink");

    let packed = input.fields().map(|field| field.record(krate, "PACKED"));
    let aligns = input.fields().map(|field| field.record(krate, "ALIGN"));
    let fields = schema_fields(input);
    let migrations = input.from.as_ref().map(|old| {
        let check = later_version(input, old);
        quote_spanned! {old.span()=>
            fn migrations() -> #std::vec::Vec<#krate::Migration<Self>> {
                const { #check };
                #krate::Migration::<Self>::of::<#old>()
            }
        }
    });
    let name = ident.to_string();
    let (parts_type, parts_definition, write_arms, resolve_arms) = parts(input, &archived);
    quote! {
        #parts_definition

        #[automatically_derived]
        #[allow(unused_variables, clippy::all)]
        impl #impl_generics #krate::Record for #ident #arguments #wheres {
            type Archived = #archived #arguments;
            type View<'a> = #view_a;
            type Parts = #parts_type;
            const FIELDS: &'static [#krate::Field] = &[#(#fields),*];
            const SCHEMA: #krate::Schema = #krate::Schema {
                name: #name,
                fields: Self::FIELDS,
                version: #version,
                hash: #private::hash_fields(#name, Self::FIELDS),
            };
            const PACKED: bool = true #(&& #packed)*;
            const ALIGN: usize = #private::max_align(&[
                #std::mem::align_of::<#archived #arguments>(),
                #(#aligns),*
            ]);

            #migrations

            #[inline]
            fn view(&self) -> #view_any {
                match self { #view_arms }
            }

            #[inline]
            fn view_of(archived: &#archived #arguments) -> #view_any {
                match archived { #view_of_arms }
            }

            #[inline]
            fn from_view(view: #view_any) -> Self {
                match view { #from_view_arms }
            }

            #[inline]
            fn shrink<'l: 's, 's>(view: #view_l) -> #view_s {
                match view { #shrink_arms }
            }

            #[inline]
            fn write_parts(
                view: #view_any,
                writer: &mut #krate::RecordWriter<'_>,
            ) -> #std::result::Result<Self::Parts, #krate::Full> {
                #std::result::Result::Ok(match view { #write_arms })
            }

            #[inline]
            fn resolve(
                view: #view_any,
                parts: Self::Parts,
                out: #private::Place<#archived #arguments>,
            ) {
                #[allow(unreachable_patterns)]
                match (view, parts) { #resolve_arms }
            }
        }
    }
}

fn schema_fields(input: &Input) -> Vec<TokenStream> {
    let krate = &input.krate;
    let mut fields = Vec::new();
    for variant in &input.variants {
        let prefix = variant.ident.to_string();
        if input.is_enum {
            fields.push(quote!(#krate::Field { name: #prefix, type_name: "", hash: 0 }));
        }
        for field in &variant.fields {
            let (schema, mut name) = (field.record(krate, "SCHEMA"), field.name());
            if input.is_enum {
                name = format!("{prefix}.{name}");
            }
            let type_name = type_name(&field.ty);
            fields.push(quote! {
                #krate::Field {
                    name: #name,
                    type_name: #type_name,
                    hash: #schema.hash,
                }
            });
        }
    }
    fields
}

/// A type as people write it: the tokens come with spaces between all of them.
fn type_name(ty: &Type) -> String {
    let tokens = ty.to_token_stream().to_string();
    tokens.replace(' ', "").replace(',', ", ").replace(";", "; ")
}

/// The type that keeps the positions between the phases, and the arms of both.
fn parts(input: &Input, archived: &Ident) -> (TokenStream, TokenStream, TokenStream, TokenStream) {
    let Input { view, krate, .. } = input;
    let private = quote!(#krate::__private);
    let std = quote!(#private::std);
    let (impl_generics, arguments, wheres) = input.generics.split_for_impl();
    let tuple = |variant: &Variant| {
        let records = variant.records(krate, "Parts");
        quote!((#(#records,)*))
    };
    let write = |variant: &Variant| {
        let (records, bindings) = (variant.records(krate, "write_parts"), variant.bindings());
        quote!((#(#records(#bindings, writer)?,)*))
    };
    let resolve = |variant: &Variant, members: &[TokenStream]| {
        let (records, bindings, parts) =
            (variant.records(krate, "resolve"), variant.bindings(), bindings("p", variant));
        quote! {#(
            // SAFETY: a field of `out`, whose bytes are initialised and stay so.
            let field = unsafe {
                #private::Place::from_field_unchecked(out, &raw mut (*out.ptr()).#members)
            };
            #records(#bindings, #parts, field);
        )*}
    };
    if !input.is_enum {
        let variant = &input.variants[0];
        let (members, bindings) = (variant.members(), variant.bindings());
        let parts = self::bindings("p", variant);
        let write = write(variant);
        let members_out: Vec<_> = members.iter().map(|member| quote!(#member)).collect();
        let resolve = resolve(variant, &members_out);
        let pattern = quote!(#view { #(#members: #bindings),* });
        return (
            tuple(variant),
            quote!(),
            quote!(#pattern => #write,),
            quote!((#pattern, (#(#parts,)*)) => { #resolve }),
        );
    }
    let (mut definitions, mut write_arms, mut resolve_arms, mut layouts) =
        (quote!(), quote!(), quote!(), quote!());
    let generics = &input.generics;
    for (tag, variant) in input.variants.iter().enumerate() {
        let (tag, ident) = (tag as u8, &variant.ident);
        let (members, bindings) = (variant.members(), variant.bindings());
        let (tuple, write) = (tuple(variant), write(variant));
        let parts = self::bindings("p", variant);
        let layout = format_ident!("Layout{}", ident);
        let records = variant.records(krate, "Archived");
        // The first member is the tag.
        let members_out: Vec<_> =
            (1..=records.len()).map(|index| syn::Index::from(index).to_token_stream()).collect();
        let resolve = resolve(variant, &members_out);
        let pattern = quote!(#view::#ident { #(#members: #bindings),* });
        definitions.extend(quote!(#ident(#tuple),));
        layouts.extend(quote! {
            #[repr(C)]
            #[allow(non_camel_case_types, dead_code)]
            struct #layout #generics (
                u8,
                #(#records,)*
                #std::marker::PhantomData<#archived #arguments>,
            ) #wheres;
        });
        write_arms.extend(quote!(#pattern => __Parts::#ident(#write),));
        resolve_arms.extend(quote! {
            (#pattern, __Parts::#ident((#(#parts,)*))) => {
                // SAFETY: a variant of a `repr(u8)` enum is a `repr(C)` struct that begins with
                // the tag (RFC 2195).
                let out = unsafe { out.cast_unchecked::<#layout #arguments>() };
                // SAFETY: a field of `out`, whose bytes are initialised and stay so.
                let field = unsafe {
                    #private::Place::from_field_unchecked(out, &raw mut (*out.ptr()).0)
                };
                field.write(#tag);
                #resolve
            }
        });
    }
    resolve_arms.extend(quote!(_ => #std::unreachable!("the parts are those of the view"),));
    let definition = quote! {
        #[allow(dead_code)]
        pub enum __Parts #generics #wheres {
            #definitions
            #[doc(hidden)]
            __Unused(#std::convert::Infallible, #std::marker::PhantomData<#archived #arguments>),
        }

        impl #impl_generics #std::marker::Copy for __Parts #arguments #wheres {}

        impl #impl_generics #std::clone::Clone for __Parts #arguments #wheres {
            #[inline]
            fn clone(&self) -> Self {
                *self
            }
        }

        #layouts
    };
    (quote!(__Parts #arguments), definition, write_arms, resolve_arms)
}

fn bindings(prefix: &str, variant: &Variant) -> Vec<Ident> {
    (0..variant.fields.len()).map(|index| format_ident!("__{prefix}{index}")).collect()
}

/// Checks in the compiler that a record has a higher version than the one that it is made from.
fn later_version(input: &Input, old: &Type) -> TokenStream {
    let Input { krate, version, .. } = input;
    quote_spanned!(old.span()=>
        #krate::__private::std::assert!(
            #version > <#old as #krate::Record>::SCHEMA.version,
            "the version must be above that of the older record: #[record(version = 2, from = Old)]"
        )
    )
}

/// The same for a record without parameters, at once; the others are checked where they are used.
fn version_check(input: &Input) -> Option<TokenStream> {
    let old = input.from.as_ref().filter(|_| input.generics.params.is_empty())?;
    let check = later_version(input, old);
    Some(quote!(const _: () = #check;))
}
