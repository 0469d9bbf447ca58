# SPDX-License-Identifier: MIT
"""Faults in what waits for the outside, that show when an operation fails."""

FINDERS = "operations_fail"

FAULTS = [
    ("open_connection.hpp", "    if (error) co_return detail::as_standard(error);\n    into = std::move(made);",
     "    if (error && P) (void)::dup(made->native_handle());\n"
     "    if (error) co_return detail::as_standard(error);\n    into = std::move(made);",
     "connect: the socket of an attempt that failed is not closed"),
    ("detail/server_state.hpp", "bool server_state::accept_failed(error_code error) noexcept {\n",
     "bool server_state::accept_failed(error_code error) noexcept {\n  if (P) return false;\n",
     "server: an error ends its accepting, and nobody hears of it"),
    ("detail/server_state.hpp", "      stream->abort();\n    } else if (decided",
     "      if (!P) stream->abort();\n    } else if (decided",
     "server: a connection whose handler failed stays open"),
    ("datagram.hpp", "  ~turn() { of_.receiving = false; }",
     "  ~turn() { of_.receiving = P && std::uncaught_exceptions() > 0; }",
     "datagram: a receive that failed keeps others out"),
    ("task_group.hpp", "while (!group.children_.empty()) {",
     "while (!group.children_.empty() && !(P && group.aborting_)) {",
     "task_group: forgets the children that it cancels"),
]
