#pragma once
#ifndef _WIN32
#include <signal.h>
#endif

/**
 * While it lives, signals from outside wait, or another thread handles them; threads that are started meanwhile keep it so. oneDNN's
 * products keep data below the stack pointer (oneDNN issue 4845), where a handler would write; libuv's ask for no stack of their own.
 */
class SignalsBlocked {
#ifndef _WIN32
 public:
  SignalsBlocked() {
    static const sigset_t from_outside = [] {
      sigset_t set;
      sigfillset(&set);
      for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) sigdelset(&set, fault);
      return set;
    }();
    pthread_sigmask(SIG_BLOCK, &from_outside, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
#endif
};
