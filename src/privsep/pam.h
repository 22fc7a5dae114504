/*
 * The PAM child: one password, asked of PAM (pam(3)) as the service `autodl`: its auth and its
 * account part. It is a child of the monitor that has become root, and the only process that knows
 * PAM. The password stays in its memory and goes nowhere else.
 */
#pragma once

/* Takes a wire_password from this socket, answers with a wire_verdict, ends the process. */
void pam_child_run(int socket) __attribute__((noreturn));
