import type { Random } from '../random.ts'
import type { Scene } from './scene.ts'
import { type Slots, tellInOrder } from './template.ts'
import type { Plot } from './world.ts'

const OPENINGS = [
  '$x was $a_trait $child who lived near the $place.',
  'There was once $a_trait $child called $x.',
  'Near the $place lived $a_trait $child. $his name was $x.',
  'Once upon a time there was $a_trait $child named $x.',
]
const FRIEND = ['$his best friend was called $y.', '$x had a good friend called $y.']
const CLOSINGS = [
  'From that day on, everyone knew how $trait $x was.',
  '"You really are $trait, $x," said $y.',
  'And so $x went home {with a song|with a smile}, $trait as ever.',
  'That night $x fell asleep {quickly|with a smile} and {dreamed of the $place|slept until the sun came up}.',
]
const DAY = 'one {sunny|cold|windy|quiet|warm} {morning|afternoon|day}, '

/** Sentences of each plot in order. Only the hero gets pronouns, so a reader can always tell who is meant. */
const PLOTS: Readonly<Record<Plot, readonly string[]>> = {
  lost: [
    `${DAY}$x went $to with $his $obj.`,
    '?$detail',
    '$he {played|walked around|ran and jumped} for a long time and {forgot the $thing|did not look after the $thing}.',
    'When $he wanted to go home, the $thing was gone.',
    '$x was {sad|very sad|worried}, because the $thing was a {present|gift} from $his {mother|father|grandfather}.',
    '$y {heard $x crying|saw that something was wrong} and said, "{Do not worry|Do not cry}, I will help you {look|search}."',
    '?"Where did you {play|see it last}?" asked $y.',
    'They looked {everywhere|under every leaf|everywhere, again and again}, and at last $y found the $thing $spot.',
    '$x {laughed|smiled|jumped for joy} and {hugged|thanked} $y.',
    'After that, $he always {took good care of|looked after} the $thing.',
  ],
  found: [
    `${DAY}$x was walking $at when $he saw $a_obj $spot.`,
    '"What a {lovely|beautiful|fine} $thing! I want to keep it," $he thought.',
    '?$he {picked it up|brushed off the dust} and looked at it from all sides.',
    'But then $he {heard someone crying|saw someone looking for something}.',
    'It was $y, who had lost the $thing {that very morning|the day before}.',
    '$x {thought for a moment|took a deep breath} and {gave the $thing back|held out the $thing}.',
    '"Thank you! {You are so good to me|You are a true friend}," said $y, and gave $him {a sweet apple|a piece of cake|three ripe plums}.',
    '$x {went|walked} home with a light heart, because giving the $thing back felt better than keeping it.',
  ],
  gift: [
    "The next day was $y's birthday, and $x had no {present|gift} yet.",
    '?$he wanted to give $y something {special|very fine}.',
    '$he had only {two|three} coins, so $he could not buy {anything big|very much}.',
    '$he went $to and {thought|looked around} for a long time.',
    '?$detail',
    'There an old $elder was selling $a_obj.',
    '"May I have the $thing if I {help you today|work for you}?" asked $x.',
    'The old $elder {nodded|agreed}, so $x {carried bags|swept the ground|chopped wood} until {noon|evening}.',
    'The next day $he gave the $thing to $y.',
    '"This is the best present of all!" said $y {with shining eyes|with a big smile}.',
  ],
  share: [
    `${DAY}$x and $y found $a_obj $at.`,
    'It lay $spot, and both of them wanted {it|to have it}.',
    '"I saw it first!" {shouted|cried} $x. "No, it is mine!" {shouted|cried|answered} $y.',
    'They pulled so hard that they both fell into the mud.',
    '?For a moment nobody said a word.',
    'Then $x {began|started} to laugh, because they {were covered in mud|looked so silly}.',
    '"Let us {share it|take turns}," $he said. "You can have it today, and I will have it tomorrow."',
    'So they {shared|took turns with} the $thing, and {nobody was angry any more|both of them were happy}.',
  ],
  storm: [
    `${DAY}$x and $y were playing $at with $a_obj.`,
    '?$detail',
    'Suddenly {dark|black} clouds came, and it began to {rain|rain hard|thunder}.',
    'The two friends ran to {an old|a small} hut and waited inside.',
    'But $x had left the $thing $spot.',
    '"The rain will ruin it! I must go back," $he {said|cried}.',
    '$y {gave $him a coat|took $his hand}, and together they ran through the {rain|storm}.',
    '?The wind blew so hard that they could hardly {see|stand}.',
    'The $thing was wet but not broken, so they dried it by the fire.',
    'When the sun came out again, they saw a rainbow over the $place.',
  ],
  animal: [
    `${DAY}$x was sitting $at, and $his $obj lay {beside|next to} $him.`,
    '?$detail',
    'A {hungry|cheeky|little} $animal came, took the $thing and ran away.',
    '$x ran after it, but the $animal was {too fast|much faster}.',
    'Then $y {had an idea|came by}. "I think it is hungry," said $y. "Let us give it some $food."',
    '$x put the $food on the ground and waited {quietly|without a sound}.',
    'The $animal came back, {dropped the $thing|let the $thing fall} and ate the $food.',
    '$x laughed and {picked up|took} the $thing.',
    'From then on, the $animal {visited $him every day|was their friend}.',
  ],
  hole: [
    `${DAY}$x was {running|walking} $at with $his $obj.`,
    '?$detail',
    '$he {tripped over a root|slipped on a wet stone}, and the $thing fell into a deep hole.',
    '$x could not {reach it|get it out}, because $his arms were too short.',
    '$he called for help, and $y came {running|at once}.',
    'First they tried a long stick, but it {broke|was too thin}.',
    'Then $y tied a hook to a rope and let it down {slowly|carefully}.',
    'After {two|three|many} tries, they pulled the $thing out.',
    '"{Two heads are better than one|Together we can do anything}," said $x, and they both laughed.',
  ],
  magpie: [
    `${DAY}$x put $his $obj down $spot and {lay down to rest|fell asleep}.`,
    'A magpie {saw|spotted} the $thing and carried it to the top of a tall tree.',
    '$x was afraid of climbing, but $he did not want to lose the $thing.',
    '"I will {hold the ladder|stay right here}," said $y. "You can do it!"',
    '{Slowly|Step by step}, $x climbed up and did not look down.',
    '?The branches {shook|creaked} in the wind.',
    'At the top, $he took the $thing out of the nest.',
    'When $he stood on the ground again, $his knees were shaking, but $he was {proud|very proud}.',
  ],
  broken: [
    '$y had $a_obj and was very proud of it.',
    `${DAY}$x borrowed the $thing and took it $to.`,
    '?$detail',
    '$he {was not careful|ran too fast}, so the $thing fell and broke.',
    'First $he wanted to hide it $spot and say nothing.',
    'But $he {could not sleep that night|felt bad all day}, so $he went to $y and told the truth.',
    '$y was sad {at first|for a moment}. "Thank you for telling me," said $y.',
    'Together they mended the $thing with {glue|glue and string}.',
    'Now it {had a small crack|looked a little crooked}, but they both {loved it even more|liked it that way}.',
  ],
  map: [
    `${DAY}$x found an old map {in a book|under the bed|in a drawer}.`,
    'A red cross showed a {spot|place} $at.',
    '?"A treasure!" $he {whispered|cried}.',
    '$x ran to $y, and the two of them {set off|set out} with {a spade|two spades}.',
    'They dug $spot for {an hour|a long time} until they hit something hard.',
    'It was a {rusty|wooden|heavy} chest, and inside lay $a_obj.',
    '"Who {put|hid} it here?" asked $y.',
    'In the evening, grandfather {laughed|smiled} and said, "I hid the $thing there as a child. Now it is yours."',
  ],
  grandmother: [
    '$his grandmother lived in a {little|small|yellow} house $at.',
    '?$detail',
    `${DAY}$x saw that $his grandmother had left $a_obj behind.`,
    '"{Grandmother needs it|Grandmother will miss it}," said $x to $y. "Let us take the $thing there."',
    'The way was long, and soon {it got dark|a cold wind blew}.',
    '$y {was afraid|wanted to go back}, but $x {sang a song|told a funny story}, and the time passed quickly.',
    'At last they saw the house, and {the door opened|there was a light in the window}.',
    'Grandmother {laughed with joy|could hardly believe it} and gave them {hot soup|warm milk and honey|fresh bread}.',
  ],
  race: [
    'Every year there was a race $at, and the winner got $a_obj.',
    '$x {wanted to win the $thing|dreamed of the $thing} and {ran every morning|practised every day}.',
    'On the day of the race, $he ran {as fast as the wind|faster than all the others}.',
    'But shortly before the end, $y {fell and hurt a knee|stumbled and fell down}.',
    '?$x could already see the {finish|winning post}.',
    '$x {stopped|turned around} and helped $y up, so {another child|someone else} won.',
    '"You {lost the race|did not win} because of me," said $y. "A friend is worth more than a $thing," {answered|said} $x.',
    'The next morning, $x found the $thing $spot, with a note: "For the best friend {of all|in the world}."',
  ],
}

/** Tells the scene in English. */
export function englishStory(scene: Scene, random: Random): string {
  const slots = englishSlots(scene)
  const templates = [random.pick(OPENINGS), random.pick(FRIEND), ...PLOTS[scene.plot], random.pick(CLOSINGS)]
  return tellInOrder(templates, slots, random)
}

function englishSlots(scene: Scene): Slots {
  const { hero, friend, thing, look, place, trait } = scene
  const female = hero.gender === 'f'
  return {
    x: hero.name,
    y: friend.name,
    child: female ? 'girl' : 'boy',
    he: female ? 'she' : 'he',
    him: female ? 'her' : 'him',
    his: female ? 'her' : 'his',
    trait,
    a_trait: withArticle(trait),
    thing: thing.en,
    obj: `${look.en} ${thing.en}`,
    a_obj: withArticle(`${look.en} ${thing.en}`),
    place: place.en,
    at: place.at.en,
    to: place.to.en,
    spot: place.spot.en,
    detail: place.detail.en,
    animal: scene.animal.en,
    food: scene.food.en,
    elder: scene.elder === 'f' ? 'woman' : 'man',
  }
}

function withArticle(words: string): string {
  // 'honest' begins with a vowel sound
  return /^([aeiou]|honest)/.test(words) ? `an ${words}` : `a ${words}`
}
