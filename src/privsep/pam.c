#include "privsep/pam.h"

#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "privsep/wire.h"

#define SERVICE  "autodl"
#define PATIENCE 5000 /* ms for the question to come: it was sent before we were asked for */

/* What PAM's modules ask of the user: the password; there is nobody to answer anything else. */
static int converse(int count, const struct pam_message **messages,
                    struct pam_response **ret_answers, void *data)
{
    const char *password = data;
    if (count < 1 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    struct pam_response *answers = calloc((size_t)count, sizeof(*answers));
    int r = answers ? PAM_SUCCESS : PAM_BUF_ERR;
    for (int i = 0; i < count && r == PAM_SUCCESS; i++) {
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF) {
            answers[i].resp = strdup(password);
            r = answers[i].resp ? PAM_SUCCESS : PAM_BUF_ERR;
        } else if (messages[i]->msg_style != PAM_TEXT_INFO &&
                   messages[i]->msg_style != PAM_ERROR_MSG) {
            r = PAM_CONV_ERR;
        }
    }
    if (r == PAM_SUCCESS) {
        *ret_answers = answers;
        return r;
    }
    for (int i = 0; answers && i < count; i++) {
        if (answers[i].resp)
            explicit_bzero(answers[i].resp, strlen(answers[i].resp));
        free(answers[i].resp);
    }
    free(answers);
    return r;
}

/* The service delays what was wrong, without a process that sleeps for it. */
static void no_delay(int result, unsigned microseconds, void *data)
{
    (void)result, (void)microseconds, (void)data;
}

static enum wire_verdict_kind judge_auth(int result)
{
    switch (result) {
    case PAM_SUCCESS:
        return WIRE_RIGHT;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_CRED_INSUFFICIENT:
    case PAM_ACCT_EXPIRED:
        return WIRE_WRONG;
    default:
        return WIRE_UNDECIDED;
    }
}

static enum wire_verdict_kind judge_account(int result)
{
    switch (result) {
    case PAM_SUCCESS:
        return WIRE_RIGHT;
    case PAM_NEW_AUTHTOK_REQD:
        return WIRE_PASSWORD_EXPIRED;
    case PAM_ACCT_EXPIRED:
        return WIRE_ACCOUNT_EXPIRED;
    case PAM_AUTH_ERR:
    case PAM_PERM_DENIED:
    case PAM_USER_UNKNOWN:
        return WIRE_ACCOUNT_REFUSED;
    default:
        return WIRE_UNDECIDED;
    }
}

static int set_items(pam_handle_t *pam, const struct wire_password *question)
{
    int r = pam_set_item(pam, PAM_FAIL_DELAY, (const void *)no_delay);
    if (r == PAM_SUCCESS && question->host[0])
        r = pam_set_item(pam, PAM_RHOST, question->host);
    return r;
}

static enum wire_verdict_kind ask_pam(struct wire_password *question)
{
    const int flags = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK;
    struct pam_conv conversation = {.conv = converse, .appdata_ptr = question->password};
    enum wire_verdict_kind verdict = WIRE_UNDECIDED;
    pam_handle_t *pam;
    int r = pam_start(SERVICE, question->user, &conversation, &pam);
    if (r != PAM_SUCCESS)
        return verdict;
    r = set_items(pam, question);
    if (r == PAM_SUCCESS) {
        r = pam_authenticate(pam, flags);
        verdict = judge_auth(r);
    }
    if (verdict == WIRE_RIGHT) {
        r = pam_acct_mgmt(pam, flags);
        verdict = judge_account(r);
    }
    pam_end(pam, r);
    return verdict;
}

void pam_child_run(int socket)
{
    struct wire_password question;
    int r = wire_receive(socket, &question, sizeof(question), NULL, PATIENCE);
    if (r < 0 || !wire_password_valid(&question))
        _exit(1);
    struct wire_verdict answer = {.verdict = ask_pam(&question)};
    explicit_bzero(&question, sizeof(question));
    (void)wire_send(socket, &answer, sizeof(answer), -1);
    _exit(0);
}
