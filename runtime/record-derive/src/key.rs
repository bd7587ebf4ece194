//! `#[derive(Key)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericParam, parse_quote};

use crate::input::{Input, Variant};

pub fn derive(input: &Input) -> TokenStream {
    let Input { ident, view, krate, .. } = input;
    let private = quote!(#krate::__private);
    let std = quote!(#private::std);
    let mut generics = input.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(#krate::Key));
        }
    }
    let (impl_generics, arguments, wheres) = generics.split_for_impl();
    let (view_any, view_b) = (input.view_type(&quote!('_)), input.view_type(&quote!('b)));

    let arms = |body: &dyn Fn(u32, &Variant) -> TokenStream| {
        let arms: Vec<_> = (0..)
            .zip(&input.variants)
            .map(|(index, variant)| {
                let (path, body) = (input.path(view, variant), body(index, variant));
                let (members, bindings) = (variant.members(), variant.bindings());
                quote!(#path { #(#members: #bindings),* } => { #body })
            })
            .collect();
        quote!(#(#arms)*)
    };
    let is_enum = input.is_enum;
    let hash = arms(&|index, variant| {
        let (keys, bindings) = (variant.keys(krate, "hash_key"), variant.bindings());
        let variant = is_enum.then(|| quote!(hasher.word(#index as u64);));
        quote!(#variant #(#keys(#bindings, hasher);)*)
    });
    let append = arms(&|index, variant| {
        let (keys, bindings) = (variant.keys(krate, "append_key"), variant.bindings());
        let variant = is_enum.then(|| quote!(#private::append_variant(#index, out);));
        quote!(#variant #(#keys(#bindings, out);)*)
    });
    let build = |variant: &Variant| {
        let (path, members, keys) =
            (input.path(view, variant), variant.members(), variant.keys(krate, "read_key"));
        quote!(#path { #(#members: #keys(bytes, arena)?),* })
    };
    let read = if is_enum {
        let arms = (0_u32..).zip(&input.variants).map(|(index, variant)| {
            let build = build(variant);
            quote!(#index => #build,)
        });
        quote! {
            match #private::read_variant::<Self>(bytes)? {
                #(#arms)*
                _ => return #std::result::Result::Err(#krate::InvalidKey::of::<Self>()),
            }
        }
    } else {
        build(&input.variants[0])
    };
    let keys: Vec<_> =
        input.variants.iter().flat_map(|variant| variant.keys(krate, "FIXED")).collect();
    let fixed = match (is_enum, keys.is_empty()) {
        (true, true) => quote!(#std::option::Option::Some(4)), // The index of the variant.
        (true, false) => quote!(#std::option::Option::None),
        (false, _) => quote!(#private::sum(&[#(#keys),*])),
    };
    quote! {
        #[automatically_derived]
        #[allow(unused_variables, clippy::all)]
        impl #impl_generics #krate::Key for #ident #arguments #wheres {
            const FIXED: #std::option::Option<usize> = #fixed;

            #[inline]
            fn hash_key(view: #view_any, hasher: &mut #krate::KeyHasher) {
                match view { #hash }
            }

            #[inline]
            fn append_key(view: #view_any, out: &mut #std::vec::Vec<u8>) {
                match view { #append }
            }

            #[inline]
            fn read_key<'b>(
                bytes: &mut &'b [u8],
                arena: &'b #krate::KeyArena,
            ) -> #std::result::Result<#view_b, #krate::InvalidKey> {
                #std::result::Result::Ok(#read)
            }
        }
    }
}
