// SPDX-License-Identifier: MIT
#pragma once

// The version of aio, its assertion, and what it knows about compilers. The first include of every other
// header: a compiler that will not do says so in one sentence.

#if defined(AIO_SINGLE_HEADER)
#define AIO_UNFIT
#error aio is here already as a single file, and a source file can have that or headers: single_header.py --add HEADER
#elif defined(__clang__) && (defined(__apple_build_version__) ? __clang_major__ < 15 : __clang_major__ < 16)
#define AIO_UNFIT
#error aio needs Clang 16 or newer (Apple clang 15)
#elif defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
#define AIO_UNFIT
#error aio needs g++ 12 or newer
#elif (defined(_MSVC_LANG) ? _MSVC_LANG : __cplusplus) < 202002L
#define AIO_UNFIT
#error aio needs C++20 or newer: compile with -std=c++20 (CMake: target_compile_features(<target> PRIVATE cxx_std_20))
#elif !defined(__cpp_impl_coroutine)
#define AIO_UNFIT
#error aio needs coroutines: compile without -fno-coroutines
#elif !defined(__cpp_exceptions)
#define AIO_UNFIT
#error aio needs exceptions, which carry errors and cancellations: compile without -fno-exceptions
#endif
#if defined(AIO_UNFIT)  // after an #error g++ and Clang would go on to pages of others, but not without a file
#include <nothing that follows would be of use>
#endif

#include <cassert>

// Asio looks for RTTI with some compilers only.
#if !defined(__cpp_rtti) && !defined(ASIO_NO_TYPEID)
#define ASIO_NO_TYPEID 1
#endif
#if !defined(__cpp_rtti) && !defined(BOOST_ASIO_NO_TYPEID)
#define BOOST_ASIO_NO_TYPEID 1
#endif

/// The version of aio.
#define AIO_VERSION_MAJOR 0
#define AIO_VERSION_MINOR 1
#define AIO_VERSION_PATCH 0

// All of aio is in this inline namespace of aio, which nobody writes: what is compiled with one version (or on
// Boost.Asio) and with another does not link where tasks, loops or streams stand in between, and both may be in one
// program where none do. A forward declaration is an include of aio/fwd.hpp.
#define AIO_ABI_OF(major, minor, asio) v##major##_##minor##asio
#define AIO_ABI_WITH(major, minor, asio) AIO_ABI_OF(major, minor, asio)
#if defined(AIO_USE_BOOST_ASIO)
#define AIO_ABI AIO_ABI_WITH(AIO_VERSION_MAJOR, AIO_VERSION_MINOR, _on_boost_asio)
#else
#define AIO_ABI AIO_ABI_WITH(AIO_VERSION_MAJOR, AIO_VERSION_MINOR, )
#endif
#define AIO_TEXT_OF(name) #name
#define AIO_TEXT(name) AIO_TEXT_OF(name)

/// Checks an invariant or a `Requires:` line. Define it before the first include to hear of
/// violations in your own way; by default it is `assert`.
#ifndef AIO_ASSERT
#define AIO_ASSERT(condition) assert(condition)
#endif

/// Debug mode of a loop finds tasks that refer to what is gone when they begin. Every coroutine that is
/// given references asks for that whether there is such a loop, which takes a twentieth of what it takes to
/// start a task; where NDEBUG is defined, nothing is asked and nothing found, unless this is defined as 1.
/// (g++ calls a lambda through a function pointer with a null object, and refers to it for that: define this as 0
/// where the undefined-behaviour sanitizer tells of it.)
#ifndef AIO_WATCH_REFERENCES
#if defined(NDEBUG)
#define AIO_WATCH_REFERENCES 0
#else
#define AIO_WATCH_REFERENCES 1
#endif
#endif

// g++ 12 puts the promise of some coroutines 8 bytes further into the frame than the resume
// function and `coroutine_handle` believe: `if (co_await x)` in a function without locals is
// enough. There aio finds frame and promise by itself; see detail/frame.hpp.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define AIO_SHIFTED_FRAMES 1
#else
#define AIO_SHIFTED_FRAMES 0
#endif

/// g++ 12 destroys a closure or an aggregate once too often when it is created inside a
/// `co_await` expression and has a destructor (12.2 and 12.4 were tried; 13.3 and 14.2 are right), and
/// aio refuses what may be such. Define this as 0 if you know that your program makes none there;
/// see closure.hpp.
#ifndef AIO_CLOSURES_DESTROYED_TWICE
#define AIO_CLOSURES_DESTROYED_TWICE AIO_SHIFTED_FRAMES
#endif

/// There aio refuses also coroutines of the program's that take such an aggregate by value: it cannot
/// see whether `co_await f(x)` or `co_await f({1, "made there"})` calls them. Define this as 0 to
/// allow them all; see closure.hpp for one type.
#ifndef AIO_REFUSE_AGGREGATE_PARAMETERS
#define AIO_REFUSE_AGGREGATE_PARAMETERS AIO_CLOSURES_DESTROYED_TWICE
#endif

#if defined(__SANITIZE_ADDRESS__)
#define AIO_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AIO_ADDRESS_SANITIZER 1
#endif
#endif
#ifndef AIO_ADDRESS_SANITIZER
#define AIO_ADDRESS_SANITIZER 0
#endif

// What the coroutine that awaits should contain, where g++ would rather call it: steps of a few
// instructions, and exceptions, which cost half when no function is left on their way.
#if defined(__GNUC__) && defined(__OPTIMIZE__)
#define AIO_ALWAYS_INLINE [[gnu::always_inline]] inline
#define AIO_ALWAYS_INLINE_LAMBDA __attribute__((always_inline))
#else
#define AIO_ALWAYS_INLINE inline
#define AIO_ALWAYS_INLINE_LAMBDA
#endif

// What may be called on a static object that is gone when the process ends meanwhile: its storage is there.
#if defined(__GNUC__)
#define AIO_NO_VPTR_CHECK __attribute__((no_sanitize("vptr")))
#else
#define AIO_NO_VPTR_CHECK
#endif

// What leads to an exception: kept apart from the code around it, which the unwinder then has less of to look at.
#if defined(__GNUC__)
#define AIO_COLD [[gnu::cold]]
#else
#define AIO_COLD
#endif

// Before a function: makes it a template, so that programs which do not call it do not compile it. Coroutines are dear.
#define AIO_ON_DEMAND template <class OnDemand = void>

// What a short function calls in rare cases only, and should not save registers for.
#if defined(__GNUC__)
#define AIO_NEVER_INLINE [[gnu::noinline]] inline
#else
#define AIO_NEVER_INLINE inline
#endif

// Define AIO_USE_BOOST_ASIO, in all of a program or in none of it, and aio stands on Boost.Asio in place of the
// standalone Asio; see docs/boost.md. What is included of the two, and what their macros say, is in detail/asio.
#pragma GCC visibility push(default)

// The Asio that aio stands on: aio::asio, and for what belongs into its own namespace: namespace AIO_ASIO { ... }
#if defined(AIO_USE_BOOST_ASIO)
#define AIO_ASIO boost::asio
#else
#define AIO_ASIO asio
#endif
namespace AIO_ASIO {}
namespace aio::inline AIO_ABI {
namespace asio = ::AIO_ASIO;
}

#pragma GCC visibility pop
