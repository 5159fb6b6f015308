import type { Random } from '../random.ts'
import { type Case, definite, indefinite, inflect, possessive, pronoun } from './german-nouns.ts'
import type { Scene } from './scene.ts'
import { type Slots, tellInOrder } from './template.ts'
import { type Noun, type Person, type Plot, TRAITS } from './world.ts'

const OPENINGS = [
  '$x war $ein_kind und wohnte nicht weit $vom_ort.',
  'Es war einmal $ein_kind namens $x.',
  'Nicht weit $vom_ort wohnte $ein_kind. $sein Name war $x.',
  'Es war einmal $ein_kind, und alle nannten $ihn $x.',
]
const FRIEND = ['$sein_freund hieß $y.', '$x hatte $einen_freund namens $y.']
const CLOSINGS = [
  'Von diesem Tag an wussten alle, wie $trait $x war.',
  '„Du bist wirklich $trait, $x“, sagte $y.',
  'Und so ging $x {mit einem Lied|mit einem Lächeln} nach Hause, $trait wie immer.',
  'In dieser Nacht schlief $x {schnell|mit einem Lächeln} ein und {träumte $vom_ort|wachte erst auf, als die Sonne schien}.',
]
const DAY = 'an einem {sonnigen|kalten|windigen|stillen|warmen} {Morgen|Nachmittag|Tag} '

/** Sentences of each plot in order, with the slots named by the masculine forms. Only the hero gets pronouns. */
const PLOTS: Readonly<Record<Plot, readonly string[]>> = {
  lost: [
    `${DAY}ging $x mit $seinem_obj $zum.`,
    '?$detail',
    '$er {spielte lange|lief und sprang umher} und {vergaß $den_ding|achtete nicht auf $den_ding}.',
    'Als $er nach Hause gehen wollte, war $der_ding weg.',
    '$x war {traurig|sehr traurig|besorgt}, denn $der_ding war ein Geschenk von {$seiner Mutter|$seinem Vater|$seinem Großvater}.',
    '$y {hörte $x weinen|sah, dass etwas nicht stimmte,} und sagte: „{Weine nicht|Keine Sorge}, ich helfe dir suchen.“',
    '?„Wo hast du {gespielt|zuletzt gespielt}?“, fragte $y.',
    'Sie suchten {überall|unter jedem Blatt|überall, wieder und wieder}, und endlich fand $y $den_ding $spot.',
    '$x {lachte|lächelte|sprang vor Freude} und {umarmte|dankte} $y.',
    'Von da an passte $er immer gut auf $den_ding auf.',
  ],
  found: [
    `${DAY}fand $x $am $einen_obj.`,
    '$der_ding lag $spot und {glänzte in der Sonne|sah wunderschön aus}.',
    '„Wie {schön|hübsch}! Ich will $den_ding behalten“, dachte $er.',
    '?$er {hob $ihn_ding auf|wischte den Staub ab} und sah $ihn_ding von allen Seiten an.',
    'Aber dann {hörte $er jemanden weinen|sah $er, dass jemand etwas suchte}.',
    'Es war $y, und $y hatte $den_ding {am Morgen|am Tag zuvor} verloren.',
    '$x {dachte kurz nach|holte tief Luft} und {gab $den_ding zurück|hielt $y $den_ding hin}.',
    '„Danke! {Du bist so gut zu mir|Das werde ich nie vergessen}“, sagte $y und gab $ihm {einen süßen Apfel|ein Stück Kuchen|drei reife Pflaumen}.',
    '$x ging mit leichtem Herzen nach Hause, denn {Geben war schöner als Behalten|Ehrlichkeit macht froh}.',
  ],
  gift: [
    'Am nächsten Tag hatte $y Geburtstag, aber $x hatte noch kein Geschenk.',
    '?$er wollte $y {etwas Besonderes|etwas sehr Schönes} schenken.',
    '$er hatte nur {zwei|drei} Münzen und konnte {nichts Großes|nicht viel} kaufen.',
    '$er ging $zum und {dachte lange nach|sah sich lange um}.',
    '?$detail',
    'Dort verkaufte $ein_alter $einen_obj.',
    '„Bekomme ich $den_ding, wenn ich {heute helfe|hier arbeite}?“, fragte $x.',
    '$der_alte {nickte|war einverstanden}, und $x {trug Taschen|fegte den Boden|hackte Holz} bis zum {Mittag|Abend}.',
    'Am nächsten Tag gab $er $y $den_ding.',
    '„Das ist das schönste Geschenk von allen!“, rief $y {mit leuchtenden Augen|und strahlte}.',
  ],
  share: [
    `${DAY}fanden $x und $y $am $einen_obj.`,
    '$der_ding lag $spot, und beide wollten $ihn_ding haben.',
    '„Ich war zuerst da!“, {rief|schrie} $x. „Nein, $er_ding gehört mir!“, {rief|antwortete} $y.',
    'Sie zogen so fest, dass beide in den Matsch fielen.',
    '?Einen Augenblick lang sagte niemand ein Wort.',
    'Da {fing $x an zu lachen|musste $x lachen}, denn {beide waren voller Matsch|es sah so lustig aus}.',
    '„Wir {teilen|wechseln uns ab}“, sagte $er. „Heute darfst du $ihn_ding haben und morgen ich.“',
    'So teilten sie sich $den_ding, und {niemand war mehr böse|beide waren zufrieden}.',
  ],
  storm: [
    `${DAY}spielten $x und $y $am mit $einem_obj.`,
    '?$detail',
    'Plötzlich kamen {dunkle|schwarze} Wolken, und es begann zu {regnen|donnern}.',
    'Die beiden liefen in eine {alte|kleine} Hütte und warteten.',
    'Aber $x hatte $den_ding $spot vergessen.',
    '„Der Regen macht $ihn_ding kaputt! Ich muss zurück“, {sagte|rief} $er.',
    '$y gab $ihm {einen Mantel|die Hand}, und zusammen liefen sie durch den {Regen|Sturm}.',
    '?Der Wind war so stark, dass sie kaum {sehen|stehen} konnten.',
    '$der_ding war nass, aber nicht kaputt, und sie trockneten $ihn_ding am Feuer.',
    'Als die Sonne wieder schien, sahen sie einen Regenbogen über $dem_ort.',
  ],
  animal: [
    `${DAY}saß $x $am, und $sein_obj lag neben $ihm.`,
    '?$detail',
    'Da kam $ein_tier, {nahm|packte} $den_ding und lief weg.',
    '$x lief hinterher, aber $der_tier war {zu schnell|viel schneller}.',
    'Dann {hatte $y eine Idee|kam $y vorbei}. „$der_tier hat bestimmt Hunger“, sagte $y. „Wir geben $ihm_tier etwas $essen.“',
    '$x legte $das_essen auf den Boden und wartete {still|ganz leise}.',
    '$der_tier kam zurück, ließ $den_ding fallen und fraß $das_essen.',
    '$x lachte und {hob $den_ding auf|nahm $den_ding}.',
    'Von da an {besuchte $der_tier $ihn jeden Tag|kam $der_tier jeden Tag zu Besuch}.',
  ],
  hole: [
    `${DAY}{lief|rannte} $x mit $seinem_obj $am {herum|umher}.`,
    '?$detail',
    '$er {stolperte über eine Wurzel|rutschte auf einem nassen Stein aus}, und $der_ding fiel in ein tiefes Loch.',
    '$x konnte $ihn_ding nicht erreichen, denn $seine Arme waren zu kurz.',
    '$er rief um Hilfe, und $y kam {gelaufen|sofort}.',
    'Zuerst nahmen sie einen langen Stock, aber der {brach|war zu dünn}.',
    'Dann band $y einen Haken an ein Seil und ließ es {langsam|vorsichtig} hinab.',
    'Nach {zwei|drei|vielen} Versuchen zogen sie $den_ding heraus.',
    '„{Zu zweit geht alles besser|Zusammen schaffen wir alles}“, sagte $x, und beide lachten.',
  ],
  magpie: [
    `${DAY}ließ $x $seinen_obj $spot liegen und {schlief ein|ruhte sich aus}.`,
    'Eine Elster {sah|entdeckte} $den_ding und trug $ihn_ding auf einen hohen Baum.',
    '$x hatte Angst vor dem Klettern, aber $er wollte $den_ding nicht verlieren.',
    '„Ich {halte die Leiter|bleibe hier}“, sagte $y. „Du schaffst das!“',
    '{Langsam|Schritt für Schritt} kletterte $x hinauf und sah nicht nach unten.',
    '?Die Äste {wackelten|knarrten} im Wind.',
    'Oben nahm $er $den_ding aus dem Nest.',
    'Als $er wieder am Boden stand, zitterten $seine Knie, aber $er war {stolz|sehr stolz}.',
  ],
  broken: [
    '$y hatte $einen_obj und war sehr stolz darauf.',
    `${DAY}lieh sich $x $den_ding und nahm $ihn_ding mit $zum.`,
    '?$detail',
    '$er {war nicht vorsichtig|lief zu schnell}, und $der_ding fiel hin und ging kaputt.',
    'Zuerst wollte $er $ihn_ding $spot verstecken und nichts sagen.',
    'Aber $er {konnte in der Nacht nicht schlafen|fühlte sich den ganzen Tag schlecht}, also ging $er zu $y und sagte die Wahrheit.',
    '$y war {zuerst|kurz} traurig. „Danke, dass du es mir gesagt hast“, sagte $y.',
    'Zusammen {reparierten|klebten} sie $den_ding mit {Leim|Leim und Schnur}.',
    'Nun {hatte $er_ding einen kleinen Riss|war $er_ding ein wenig schief}, aber {beide mochten $ihn_ding noch lieber|das störte niemanden}.',
  ],
  map: [
    `${DAY}fand $x {in einem Buch|unter dem Bett|in einer Schublade} eine alte Karte.`,
    'Ein rotes Kreuz zeigte eine Stelle $am.',
    '?„Ein Schatz!“, {flüsterte|rief} $er.',
    '$x lief zu $y, und die beiden machten sich mit {einem Spaten|zwei Spaten} auf den Weg.',
    'Sie gruben {eine Stunde lang|lange} $spot, bis sie auf etwas Hartes stießen.',
    'Es war eine {rostige|hölzerne|schwere} Truhe, und darin lag $ein_obj.',
    '„Wer hat $ihn_ding hier versteckt?“, fragte $y.',
    'Am Abend {lachte|lächelte} der Großvater und sagte: „Ich habe $den_ding als Kind versteckt. Jetzt gehört $er_ding dir.“',
  ],
  grandmother: [
    '$seine Großmutter wohnte $am in einem {kleinen|gelben|alten} Haus.',
    '?$detail',
    `${DAY}sah $x, dass die Großmutter $einen_obj vergessen hatte.`,
    '„Die Großmutter {braucht|vermisst} $ihn_ding bestimmt“, sagte $x zu $y. „Wir bringen $den_ding hin.“',
    'Der Weg war weit, und bald {wurde es dunkel|wehte ein kalter Wind}.',
    '$y {hatte Angst|wollte umkehren}, aber $x {sang ein Lied|erzählte eine lustige Geschichte}, und die Zeit verging schnell.',
    'Endlich sahen sie das Haus, und {die Tür ging auf|im Fenster brannte ein Licht}.',
    'Die Großmutter {lachte vor Freude|freute sich sehr} und gab ihnen {heiße Suppe|warme Milch mit Honig|frisches Brot}.',
  ],
  race: [
    'Jedes Jahr gab es $am ein Wettrennen, und der Preis war $ein_obj.',
    '$x {wollte $den_ding gewinnen|träumte von $dem_ding} und {lief jeden Morgen|übte jeden Tag}.',
    'Am Tag des Rennens lief $er {schnell wie der Wind|schneller als alle anderen}.',
    'Aber kurz vor dem Ziel {fiel $y hin|stolperte $y} und verletzte sich am Knie.',
    '?$x konnte schon das Ziel sehen.',
    '$x {hielt an|drehte um} und half $y auf, und so gewann {ein anderes Kind|jemand anders}.',
    '„Du hast {meinetwegen verloren|meinetwegen nicht gewonnen}“, sagte $y. „Freundschaft ist mehr wert als $ein_ding“, antwortete $x.',
    'Am nächsten Morgen fand $x $den_ding $spot. Auf einem Zettel stand: „Für $den_besten_freund der Welt.“',
  ],
}

/** Tells the scene in German. */
export function germanStory(scene: Scene, random: Random): string {
  const slots = germanSlots(scene, random.pick(['hungrig', 'frech', 'klein']))
  const templates = [random.pick(OPENINGS), random.pick(FRIEND), ...PLOTS[scene.plot], random.pick(CLOSINGS)]
  return tellInOrder(templates, slots, random)
}

function germanSlots(scene: Scene, animalLook: string): Slots {
  const { hero, friend, place, animal, food } = scene
  const trait = TRAITS[scene.trait]
  const child: Noun = hero.gender === 'f' ? noun('Mädchen', 'n') : noun('Junge', 'm')
  const elder: Noun = scene.elder === 'f' ? noun('Frau', 'f') : noun('Mann', 'm')
  return {
    ...personSlots(hero, friend),
    ...thingSlots(scene),
    trait,
    ein_kind: withEin(child, 'nominative', trait),
    ein_alter: withEin(elder, 'nominative', 'alt'),
    der_alte: withDer(elder, 'nominative', 'alt'),
    am: place.at.de,
    zum: place.to.de,
    spot: place.spot.de,
    detail: place.detail.de,
    dem_ort: withDer(place, 'dative'),
    vom_ort: place.gender === 'f' ? `von der ${place.de}` : `vom ${place.de}`,
    ein_tier: withEin(animal, 'nominative', animalLook),
    der_tier: withDer(animal, 'nominative'),
    ihm_tier: pronoun(animal.gender, 'dative'),
    essen: food.de,
    das_essen: withDer(food, 'accusative'),
  }
}

function personSlots(hero: Person, friend: Person): Slots {
  const companion: Noun = friend.gender === 'f' ? noun('Freundin', 'f') : noun('Freund', 'm')
  const heroAsFriend: Noun = hero.gender === 'f' ? noun('Freundin', 'f') : noun('Freund', 'm')
  return {
    x: hero.name,
    y: friend.name,
    er: pronoun(hero.gender, 'nominative'),
    ihn: pronoun(hero.gender, 'accusative'),
    ihm: pronoun(hero.gender, 'dative'),
    sein: possessive(hero.gender, 'm', 'nominative'),
    seine: possessive(hero.gender, 'f', 'nominative'), // the plural has the feminine's forms here
    seiner: possessive(hero.gender, 'f', 'dative'),
    seinem: possessive(hero.gender, 'm', 'dative'),
    sein_freund: withPossessive(hero, companion, 'nominative', 'best'),
    einen_freund: withEin(companion, 'accusative', 'gut'),
    den_besten_freund: withDer(heroAsFriend, 'accusative', 'best'),
  }
}

function thingSlots({ hero, thing, look }: Scene): Slots {
  return {
    der_ding: withDer(thing, 'nominative'),
    den_ding: withDer(thing, 'accusative'),
    dem_ding: withDer(thing, 'dative'),
    ein_ding: withEin(thing, 'nominative'),
    er_ding: pronoun(thing.gender, 'nominative'),
    ihn_ding: pronoun(thing.gender, 'accusative'),
    ein_obj: withEin(thing, 'nominative', look.de),
    einen_obj: withEin(thing, 'accusative', look.de),
    einem_obj: withEin(thing, 'dative', look.de),
    sein_obj: withPossessive(hero, thing, 'nominative', look.de),
    seinen_obj: withPossessive(hero, thing, 'accusative', look.de),
    seinem_obj: withPossessive(hero, thing, 'dative', look.de),
  }
}

function noun(de: string, gender: Noun['gender']): Noun {
  return { en: '', de, gender }
}

function withDer({ de, gender }: Noun, grammaticalCase: Case, adjective?: string): string {
  const words = adjective ? `${inflect(adjective, 'der', gender, grammaticalCase)} ${de}` : de
  return `${definite(gender, grammaticalCase)} ${words}`
}

function withEin({ de, gender }: Noun, grammaticalCase: Case, adjective?: string): string {
  const words = adjective ? `${inflect(adjective, 'ein', gender, grammaticalCase)} ${de}` : de
  return `${indefinite(gender, grammaticalCase)} ${words}`
}

function withPossessive(
  owner: Person,
  { de, gender }: Noun,
  grammaticalCase: Case,
  adjective: string,
): string {
  const words = `${inflect(adjective, 'mein', gender, grammaticalCase)} ${de}`
  return `${possessive(owner.gender, gender, grammaticalCase)} ${words}`
}
