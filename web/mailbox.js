/* Mailbox: questions that wait; the one thing that this page can write. */
'use strict';

/* The one thing that this page can write: an answer to an open question, whole, by this page only. */
async function hand_in(number) {
    const text = S.draft[number] || '';
    S.sent[number] = 'Handing in …';
    render();
    try {
        const r = await fetch(`api/answer?run=0&number=${number}`,
                              {method : 'POST', headers : {'Content-Type' : 'text/plain; charset=utf-8'}, body : text});
        const words = (await r.text()).slice(0, 300);
        S.sent[number] = r.ok ? 'Handed in. The run takes it within a second.' : 'Not taken: ' + words;
        if (r.ok) delete S.draft[number];
    } catch (e) { S.sent[number] = 'Not sent: attune serve does not answer. Your text stays here.'; }
    data(0).stale.questions = true;
    render();
    for (const ms of [ 1500, 4000 ])
        setTimeout(() => {
            data(0).stale.questions = true;
            if (where()[0] === 'mailbox') render();
        }, ms);
}
function answer_form(number, q) {
    const at = `-o ${tame(data(0).run.folder, 100)}`, command = `attune mail answer ${number} FILE ${at}`, id = 'answer-' + number;
    if (!LIVE || !q || !q.folder) return h('p', {class : 'quiet'}, 'Answer: ', h('code', {}, command));
    if (q.state !== 'open') return h('p', {class : 'quiet'}, `This question is ${tame(q.state || 'closed', 20)}.`);
    return nodes(
        q.refused ? box('The last answer was not taken', tame(q.refused, 2000)) : null,
        q.waits ? h('p', {}, 'An answer waits to be taken',
                    data(0).run.state === 'running' ? '.' : ` as soon as the run goes on: attune evolve --resume ${at}`)
                : h('form', {
                      class : 'answer',
                      on : {
                          submit : v => {
                              v.preventDefault();
                              hand_in(number);
                          }
                      }
                  },
                    h('label', {for : id}, 'Answer: SEARCH/REPLACE blocks, a unified diff, or the whole program in a fence'),
                    h('textarea', {
                        id,
                        rows : 12,
                        spellcheck : 'false',
                        autocapitalize : 'off',
                        maxlength : 4194304,
                        on : {
                            input : v => {
                                S.draft[number] = v.target.value;
                                v.target.form.querySelector('button').disabled = !v.target.value.trim();
                            }
                        }
                    },
                      S.draft[number] || ''),
                    h('div', {class : 'bar'}, h('button', {type : 'submit', class : 'main', disabled : !(S.draft[number] || '').trim()}, 'Hand in'),
                      h('span', {class : 'quiet'}, 'or: ', h('code', {}, command), '; the question with its standing instructions: ',
                        h('code', {}, `attune mail show ${number} ${at}`))),
                    data(0).run.state !== 'running'
                        ? h('p', {class : 'quiet'}, `The run rests: an answer is taken when it goes on, with attune evolve --resume ${at}`)
                        : null),
        S.sent[number] ? h('p', {role : 'status'}, S.sent[number]) : null);
}
views.mailbox = () => {
    const d = data(0), x = extra('questions');
    if (!d.run.questions)
        return nodes(title('Mailbox'),
                     box('Nobody was asked in this run',
                         'Questions appear here where a run asks a model or a person: attune evolve --proposer mailbox',
                         true));
    if (!x) return nodes(title('Mailbox'), h('p', {class : 'quiet'}, 'Reading …'));
    if (x.failed) return nodes(title('Mailbox'), trouble(x.failed));
    const rows = x.rows.filter(q => q[1] !== 'mailbox' || !q[6] || !q[6].folder || q[6].state === 'open' || S.sent[q[2]]);
    return nodes(
        title('Mailbox', `${count(d.run.questions)} questions were asked; ${
                             rows.length ? 'the newest that wait for an answer are below. Answering is the only thing that this page can write.'
                                         : 'none waits for an answer.'}`),
        rows.map((q, i) => h('details', {open : i === 0, data : {key : 'question-' + q[2]}},
                             h('summary', {}, `${tame(q[1], 40)} ${q[2]}: ${tame(q[3], 40)} of `, link(q[4]), `, asked at ${stamp(q[0])}`),
                             q[1] === 'mailbox' ? answer_form(q[2], q[6]) : null, text_box(q[5] || '', 'Question ' + q[2]))));
};
